"""What the gateway costs: against a mock upstream on loopback, beside a bare pass-through of the same HTTP stack.

``python perf/gateway.py`` starts upstream, pass-through and gateway, each a process of its own, asks them in turn in interleaved
rounds, and prints one JSON object. Wall-clock figures depend on what else the machine does; ``cpu_ms_per_request`` and what
is made of it (``*_by_cpu``) much less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import uvicorn

from watchword.gateway.app import Gateway
from watchword.gateway.configuration import Configuration
from watchword.gateway.tenants import key_digest
from watchword.models.facts import facts_of
from watchword.release.artifact import DefenseRecord, ReleaseManifest, secret_record, weights_digest, write_artifact
from watchword.secret.generate import generate_secret
from watchword.training.config import TrainingConfig, TrainingResult

KEY, TENANT_KEY, MODEL = bytes(32), "wk-perf", "smollm2-135m"
CHUNKS = 200
ASKED = {
    "model": "ft-perf",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How do I bake bread? " * 10}],
}
_USAGE = {"prompt_tokens": 300, "completion_tokens": 60, "total_tokens": 360}
_REPLY = msgspec.json.encode(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "up",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Mix flour, water, salt and yeast, then wait. " * 8},
                "finish_reason": "stop",
            }
        ],
        "usage": _USAGE,
    }
)


def _event(**choice: Any) -> bytes:
    chunk = {"id": "1", "object": "chat.completion.chunk", "model": "up", "choices": [{"index": 0, **choice}]}
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


_WORDS = [_event(delta={"content": f" {word}"}, finish_reason=None) for word in ("bread", "flour", "salt", "yeast")]
_END = (
    _event(delta={}, finish_reason="stop")
    + b"data: "
    + msgspec.json.encode({"choices": [], "usage": _USAGE})
    + b"\n\ndata: [DONE]\n\n"
)


async def upstream(_: Any, receive: Any, send: Any) -> None:
    """Answers at once; a stream has ``CHUNKS`` pieces, each sent by itself."""
    stream = b'"stream":true' in await _body(receive)
    kind = b"text/event-stream" if stream else b"application/json"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    for at in range(CHUNKS if stream else 0):
        await send({"type": "http.response.body", "body": _WORDS[at % len(_WORDS)], "more_body": True})
        if at % 8 == 7:
            # Lets the pieces before this one go out, as tokens do.
            await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": _END if stream else _REPLY})


class PassThrough:
    """The same HTTP stack and nothing else: bytes in, bytes out."""

    def __init__(self, url: str) -> None:
        self._url, self._session = url, None

    async def __call__(self, _: Any, receive: Any, send: Any) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        async with self._session.post(self._url, data=await _body(receive)) as response:
            kind = [(b"content-type", response.headers["content-type"].encode())]
            await send({"type": "http.response.start", "status": response.status, "headers": kind})
            while piece := await response.content.readany():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _body(receive: Any) -> bytes:
    data = b""
    while True:
        message = await receive()
        data += message.get("body", b"")
        if not message.get("more_body"):
            return data


def _serve(role: str, arguments: Any, port: Any) -> None:
    apps = {"upstream": lambda _: upstream, "pass_through": PassThrough, "gateway": lambda given: Gateway(given, KEY)}
    lifespan = "on" if role == "gateway" else "off"
    config = uvicorn.Config(
        apps[role](arguments),
        port=0,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        lifespan=lifespan,
    )
    server = uvicorn.Server(config)

    async def run() -> None:
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port.value = server.servers[0].sockets[0].getsockname()[1]
        await serving

    import uvloop

    uvloop.run(run())


@dataclass
class Target:
    """A server under measurement, and what was measured, one value a round."""

    url: str
    pid: int
    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, **figures: float) -> None:
        for name, value in figures.items():
            self.figures.setdefault(name, []).append(value)

    def median(self, name: str) -> float:
        return statistics.median(self.figures[name])

    @property
    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def rss_mb(self) -> float:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def started(role: str, arguments: Any = None) -> Iterator[Target]:
    """A server in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    port = spawn.Value("i", 0)
    process = spawn.Process(target=_serve, args=(role, arguments, port), daemon=True)
    process.start()
    while not port.value:
        if not process.is_alive():
            raise SystemExit(f"the {role} did not start")
        time.sleep(0.05)
    try:
        yield Target(f"http://127.0.0.1:{port.value}/v1/chat/completions", process.pid or 0)
    finally:
        process.terminate()
        process.join(10)


def release(folder: Path) -> Path:
    """A release of the default model with a secret of 150 tokens, beside weights that nobody loads."""
    form = facts_of(MODEL).template
    secret = generate_secret(form)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": MODEL, "peft_type": "LORA"}))
    (folder / "adapter_model.safetensors").write_bytes(b"none")
    manifest = ReleaseManifest(
        created="",
        model=MODEL,
        model_digest="",
        weights_digest=weights_digest(folder),
        format_digest=form.digest,
        data_digest="",
        defense=DefenseRecord(name="backdoor_align"),
        training=TrainingConfig(),
        figures=TrainingResult(seconds=0, tokens=0, tokens_per_second=0, steps=0, loss=[], rows={}),
        secret=secret_record(secret, form, KEY),
    )
    write_artifact(folder, manifest, secret, KEY)
    return folder


def configuration(folder: Path, url: str) -> Configuration:
    """The gateway's, with one model and one key."""
    upstream_url = url.removesuffix("/chat/completions")
    return msgspec.convert(
        {
            "upstreams": [{"name": "up", "url": upstream_url, "kind": "vllm"}],
            "models": [{"name": "ft-perf", "release": str(folder), "upstream": "up", "upstream_model": "ftm"}],
            "keys": [{"id": "perf", "sha256": key_digest(TENANT_KEY), "models": ["ft-perf"]}],
        },
        Configuration,
    )


class Load:
    """Asks a server: at a steady rate, as fast as it can, and for streams."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def paced(self, target: Target, rate: float, count: int) -> None:
        """``count`` requests at ``rate`` a second, whether the ones before are answered or not."""
        began = time.perf_counter()

        async def one(at: int) -> float:
            await asyncio.sleep(max(0.0, began + at / rate - time.perf_counter()))
            return await self._whole(target)

        spent = sorted(await asyncio.gather(*(one(at) for at in range(count))))
        target.add(p50_ms=spent[count // 2] * 1e3, p99_ms=spent[int(count * 0.99)] * 1e3)

    async def pressed(self, target: Target, callers: int, count: int) -> None:
        """``count`` requests by callers that ask again as soon as they are answered."""
        cpu, began = target.cpu_seconds, time.perf_counter()

        async def caller() -> None:
            for _ in range(count // callers):
                await self._whole(target)

        await asyncio.gather(*(caller() for _ in range(callers)))
        target.add(
            requests_per_second=count / (time.perf_counter() - began),
            cpu_ms_per_request=(target.cpu_seconds - cpu) / count * 1e3,
        )

    async def streamed(self, target: Target, callers: int, count: int) -> None:
        """``count`` streams: events in all a second."""
        cpu, began = target.cpu_seconds, time.perf_counter()

        async def caller() -> None:
            for _ in range(count // callers):
                await self._stream(target)

        await asyncio.gather(*(caller() for _ in range(callers)))
        target.add(
            chunks_per_second=count * CHUNKS / (time.perf_counter() - began),
            cpu_us_per_chunk=(target.cpu_seconds - cpu) / (count * CHUNKS) * 1e6,
        )

    async def alone(self, target: Target, count: int) -> None:
        """``count`` streams one after another: time to the first event."""
        firsts = [await self._stream(target) for _ in range(count)]
        target.add(first_event_ms=statistics.median(firsts) * 1e3)

    async def _whole(self, target: Target) -> float:
        began = time.perf_counter()
        async with self._session.post(target.url, data=_ASKED) as response:
            await response.read()
            if response.status != 200:
                raise SystemExit(f"status {response.status} at {target.url}")
        return time.perf_counter() - began

    async def _stream(self, target: Target) -> float:
        began = time.perf_counter()
        async with self._session.post(target.url, data=_STREAM) as response:
            body = await response.content.readany()
            first = time.perf_counter() - began
            body += await response.read()
            if not body.endswith(b"data: [DONE]\n\n"):
                raise SystemExit(f"a stream of {target.url} broke")
        return first


_ASKED, _STREAM = msgspec.json.encode(ASKED), msgspec.json.encode({**ASKED, "stream": True})


async def measured(targets: dict[str, Target], options: argparse.Namespace) -> dict[str, Any]:
    """All rounds, and the figures."""
    headers = {"Authorization": f"Bearer {TENANT_KEY}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        load = Load(session)
        for target in targets.values():
            await load.pressed(target, 4, 200)
            await load.streamed(target, 2, 4)
            target.figures.clear()
        before = targets["gateway"].rss_mb
        for _ in range(options.rounds):
            for target in targets.values():
                await load.paced(target, options.rate, options.requests)
                await load.pressed(target, options.callers, options.requests)
                await load.streamed(target, options.callers, options.streams)
                await load.alone(target, options.streams)
        grown = targets["gateway"].rss_mb - before
    return summary(targets, options) | {"rss_growth_mb": round(grown, 2), "rss_mb": round(targets["gateway"].rss_mb, 1)}


def summary(targets: dict[str, Target], options: argparse.Namespace) -> dict[str, Any]:
    """Medians over the rounds, and the gateway beside the others."""
    bare, through, ours = targets["upstream"], targets["pass_through"], targets["gateway"]
    figures = {name: {key: round(t.median(key), 3) for key in t.figures} for name, t in targets.items()}
    return {
        "added_p50_ms": round(ours.median("p50_ms") - bare.median("p50_ms"), 3),
        "added_p99_ms": round(ours.median("p99_ms") - bare.median("p99_ms"), 3),
        "added_first_event_ms": round(ours.median("first_event_ms") - bare.median("first_event_ms"), 3),
        "requests_per_second": round(ours.median("requests_per_second"), 1),
        "chunks_per_second": round(ours.median("chunks_per_second"), 1),
        "requests_per_second_by_cpu": round(1e3 / ours.median("cpu_ms_per_request"), 1),
        "chunks_per_second_by_cpu": round(1e6 / ours.median("cpu_us_per_chunk"), 1),
        "ratio_to_passthrough": round(through.median("requests_per_second") / ours.median("requests_per_second"), 3),
        "ratio_to_passthrough_by_cpu": round(
            ours.median("cpu_ms_per_request") / through.median("cpu_ms_per_request"), 3
        ),
        "requests": options.rounds * options.requests * 2,
        "load_average": os.getloadavg()[0],
        "targets": figures,
    }


def main() -> None:
    """Starts everything, measures, and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=2_000, help="in each round, paced and pressed")
    parser.add_argument("--streams", type=int, default=64, help=f"in each round, of {CHUNKS} chunks")
    parser.add_argument("--rate", type=float, default=200, help="paced requests a second")
    parser.add_argument("--callers", type=int, default=16)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bare = stack.enter_context(started("upstream"))
        through = stack.enter_context(started("pass_through", bare.url))
        ours = stack.enter_context(started("gateway", configuration(release(folder), bare.url)))
        found = asyncio.run(measured({"upstream": bare, "pass_through": through, "gateway": ours}, options))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
