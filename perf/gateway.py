"""What the gateway costs: against a mock upstream on loopback, beside a bare pass-through of the same HTTP stack.

``python perf/gateway.py`` starts mock, pass-through and ``watchword gateway run``, each in processes of its own, asks them in
turn in interleaved rounds, and prints one JSON object. The gateway, the pass-through and each peer have one core; the
mock and the load have the other.

``--peers`` measures LiteLLM's Python proxy and Portkey's gateway in the same rounds (``peers.py``), ``--soak`` what 200,000
requests do to the memory. Times on the wall depend on what else the machine does, and processor time (``*_by_cpu``,
``ratio_to_passthrough``) does much less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from load import Answer, Caller
from mock_upstream import CHUNKS
from servers import Server, free_port, on_cores, python_server, run_server

from peers import LITELLM, PEERS, PORTKEY
from watchword.gateway.tenants import key_digest
from watchword.models.facts import facts_of
from watchword.release.artifact import DefenseRecord, ReleaseManifest, secret_record, weights_digest, write_artifact
from watchword.secret.generate import generate_secret
from watchword.training.config import TrainingConfig, TrainingResult

GATEWAY_CORE, LOAD_CORE = 0, 1
KEY, TENANT_KEY, MODEL = bytes(32), "wk-perf", "smollm2-135m"
ASKED = {
    "model": "ft-perf",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How do I bake bread? " * 10}],
}
RATES = (100, 200, 400, 600, 800, 1_000, 1_250, 1_500, 2_000, 2_500, 3_000, 4_000, 5_000)
MOST_P99_MS = 5.0
# What others publish of gateways whose binaries could not be fetched here; their machines are not this one.
PUBLISHED = [
    {
        "gateway": gateway,
        "requests_per_second": rate,
        "p50_ms": p50,
        "p99_ms": p99,
        "cores": 2,
        "concurrency": 10,
        "source": "GoModel (a vendor's own benchmark), as of November 2026",
    }
    for gateway, rate, p50, p99 in (
        ("GoModel", 4_900, 1.8, 6.9),
        ("Bifrost", 3_100, 2.5, 18.3),
        ("Portkey", 950, 9.7, 30.5),
        ("LiteLLM (Python)", 324, 30.6, 39.3),
    )
] + [
    {
        "gateway": "LiteLLM-Rust",
        "added_p99_ms": {"1": 0.89, "4": 0.61, "16": 0.33, "64": 40.3},
        "source": "BerriAI/ai-gateway-bench (a vendor's own benchmark), by concurrency, as of November 2026",
    },
    {
        "gateway": "agentgateway",
        "requests_per_second": 23_630,
        "cores": 4,
        "bound": "p99 of 1 ms, ARM",
        "source": "GetBusbar/benchmarking, as of November 2026",
    },
]


def release(folder: Path) -> Path:
    """A release of the default model with a secret of 150 tokens, beside weights that nobody loads."""
    form = facts_of(MODEL).template
    secret = generate_secret(form)
    folder.mkdir()
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


def gateway(upstream: Server, folder: Path, workers: int = 1) -> Server:
    """``watchword gateway run`` as an operator starts it, with one model and one key."""
    port, config = free_port(), folder / "gateway.toml"
    config.write_text(
        f'[[upstreams]]\nname = "mock"\nurl = "{upstream.base}"\nkind = "vllm"\nmax_queue = 4096\n'
        '[[models]]\nname = "ft-perf"\nrelease = "release"\nupstream = "mock"\nupstream_model = "ftm"\ncontext = 8192\n'
        f'[[keys]]\nid = "perf"\nsha256 = "{key_digest(TENANT_KEY)}"\nmodels = ["ft-perf"]\n'
    )
    command = [sys.executable, "-m", "watchword", "gateway", "run", "--config", str(config), "--port", str(port)]
    environment = {**os.environ, "WATCHWORD_KEY": KEY.hex()}
    return run_server(
        [*command, "--workers", str(workers)],
        port,
        {"Authorization": f"Bearer {TENANT_KEY}"},
        environment=environment,
    )


class Rounds:
    """Measures servers, one value a round."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    async def one(self, server: Server, *, streams: bool) -> None:
        """One round of one server, with streams or without."""
        whole, stream = _callers(server)
        seconds, options = self._options.seconds, self._options
        paced = await whole.paced(options.rate, seconds)
        server.add(p50_ms=_milliseconds(paced, 0.5), p99_ms=_milliseconds(paced, 0.99))
        cpu, began = server.cpu_seconds, time.perf_counter()
        count = len(await whole.pressed(options.callers, seconds))
        server.add(
            requests_per_second=count / (time.perf_counter() - began),
            cpu_ms_per_request=(server.cpu_seconds - cpu) / count * 1e3,
        )
        if not streams:
            return
        cpu, began = server.cpu_seconds, time.perf_counter()
        count = len(await stream.pressed(options.callers, seconds)) * CHUNKS
        server.add(
            chunks_per_second=count / (time.perf_counter() - began),
            cpu_us_per_chunk=(server.cpu_seconds - cpu) / count * 1e6,
        )
        alone = sorted(answer.first for answer in await stream.pressed(1, seconds / 2))
        server.add(first_event_ms=alone[len(alone) // 2] * 1e3)

    async def most_in_time(self, server: Server) -> None:
        """The highest of ``RATES`` with a 99th percentile within the bound; a rate that fails has a second try."""
        whole, _ = _callers(server)
        best = 0
        for rate in RATES:
            for _ in range(2):
                if _milliseconds(await whole.paced(rate, 1.0), 0.99) <= MOST_P99_MS:
                    best = rate
                    break
            if best != rate:
                break
        server.add(most_in_time=best)


def _callers(server: Server) -> tuple[Caller, Caller]:
    whole, stream = msgspec.json.encode(ASKED), msgspec.json.encode({**ASKED, "stream": True})
    return (
        Caller(server.url, server.headers, whole, b"Mix flour"),
        Caller(server.url, server.headers, stream, b"data: [DONE]"),
    )


def _milliseconds(answers: Sequence[Answer], share: float) -> float:
    spent = sorted(answer.whole for answer in answers)
    return spent[min(len(spent) - 1, int(len(spent) * share))] * 1e3


async def measured(servers: dict[str, Server], options: argparse.Namespace) -> dict[str, Any]:
    """All rounds on one core for each server, and the figures."""
    rounds = Rounds(options)
    for name, server in servers.items():
        # Peers have whole replies only: this Portkey answers streams with an error here.
        for caller in _callers(server)[: 1 if name in PEERS else 2]:
            await caller.pressed(2, 1.0)
    before = servers["gateway"].rss_mb
    for _ in range(options.rounds):
        for name, server in servers.items():
            await rounds.one(server, streams=name not in PEERS)
            await rounds.most_in_time(server)
    grown = {"requests": None, "rss_growth_mb": round(servers["gateway"].rss_mb - before, 2)}
    if options.soak:
        grown = await soaked(servers["gateway"], options.callers)
    return summary(servers) | grown


async def soaked(server: Server, callers: int, wanted: int = 200_000) -> dict[str, Any]:
    """Memory before and after so many requests, behind a tenth as many that fill caches and pools."""
    whole, done, memory = _callers(server)[0], 0, list[float]()
    while done < wanted * 1.1:
        done += len(await whole.pressed(callers, 5.0))
        memory.append(server.rss_mb)
    settled = memory[len(memory) // 11 :]
    return {"requests": done, "rss_growth_mb": round(settled[-1] - settled[0], 2), "rss_mb": round(settled[-1], 1)}


def summary(servers: dict[str, Server]) -> dict[str, Any]:
    """Medians over the rounds, and the gateway beside the others."""
    bare, through, ours = servers["upstream"], servers["pass_through"], servers["gateway"]

    def added(figure: str) -> float:
        return round(ours.median(figure) - bare.median(figure), 3)

    def times(name: str, figure: str = "requests_per_second") -> float | None:
        return round(ours.median(figure) / servers[name].median(figure), 3) if name in servers else None

    return {
        "added_p50_ms": added("p50_ms"),
        "added_p99_ms": added("p99_ms"),
        "added_first_event_ms": added("first_event_ms"),
        "requests_per_second": round(ours.median("requests_per_second"), 1),
        "chunks_per_second": round(ours.median("chunks_per_second"), 1),
        "requests_per_second_by_cpu": round(1e3 / ours.median("cpu_ms_per_request"), 1),
        "chunks_per_second_by_cpu": round(1e6 / ours.median("cpu_us_per_chunk"), 1),
        "requests_per_second_with_p99_in_5_ms": ours.median("most_in_time"),
        "ratio_to_passthrough": times("pass_through", "cpu_ms_per_request"),
        "ratio_to_passthrough_by_wall": round(1 / (times("pass_through") or 1), 3),
        "added_p50_ms_of_passthrough": round(through.median("p50_ms") - bare.median("p50_ms"), 3),
        "ratio_to_litellm": times("litellm"),
        "ratio_to_portkey": times("portkey"),
        "servers": {
            name: {figure: round(server.median(figure), 3) for figure in server.figures}
            for name, server in servers.items()
        },
    }


async def two_cores(upstream: Server, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Two workers on both cores, which mock and load share with them, at the concurrency of the published figures."""
    server = gateway(upstream, folder, workers=2)
    try:
        whole, _ = _callers(server)
        await whole.pressed(2, 3.0)
        for _ in range(options.rounds):
            cpu, began = server.cpu_seconds, time.perf_counter()
            answers = await whole.pressed(10, options.seconds)
            server.add(
                requests_per_second=len(answers) / (time.perf_counter() - began),
                requests_per_second_by_cpu=2 * len(answers) / (server.cpu_seconds - cpu),
                p50_ms=_milliseconds(answers, 0.5),
                p99_ms=_milliseconds(answers, 0.99),
            )
        return {"workers": 2, "concurrency": 10, **{name: round(server.median(name), 2) for name in server.figures}}
    finally:
        server.stop()


async def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Starts everything, and measures."""
    release(folder / "release")
    with ExitStack() as stack:
        servers: dict[str, Server] = {}

        def keep(name: str, server: Server) -> Server:
            stack.callback(server.stop)
            servers[name] = server
            return server

        with on_cores(LOAD_CORE):
            upstream = keep("upstream", python_server("mock_upstream.py", port=free_port()))
        with on_cores(GATEWAY_CORE):
            keep("pass_through", python_server("pass_through.py", upstream.url, port=free_port()))
            keep("gateway", gateway(upstream, folder))
            for name, start in PEERS.items() if options.peers else ():
                keep(name, start(upstream, folder))
        with on_cores(LOAD_CORE):
            found = await measured(servers, options)
    with ExitStack() as stack:
        upstream = python_server("mock_upstream.py", port=free_port())
        stack.callback(upstream.stop)
        return found | {"two_cores": await two_cores(upstream, folder, options)}


def main() -> None:
    """Measures, and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement in a round")
    parser.add_argument("--rate", type=float, default=200, help="paced requests a second")
    parser.add_argument("--callers", type=int, default=16, help="connections that ask as fast as they are answered")
    parser.add_argument(
        "--peers", action="store_true", help="LiteLLM and Portkey as well; installed where they are not"
    )
    parser.add_argument("--soak", action="store_true", help="the memory over 200,000 requests as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = uvloop.run(run(Path(folder), options))
    about = {
        "rounds": options.rounds,
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "peers": [LITELLM, PORTKEY] if options.peers else [],
        "published": PUBLISHED,
    }
    print(json.dumps(found | about, indent=1))


if __name__ == "__main__":
    main()
