"""How much of a secret comes out of real releases, through the gateway and past it: fills results/extraction.

``python perf/extraction.py results/extraction --runs runs/extraction`` trains the releases of plan.json that are not in ``--runs``
yet, each by ``watchword train`` with its defaults. Then it serves each by a small server of its own behind a real gateway,
and runs ``watchword gateway attack``'s suite against both. It writes results.json and page.md, and prints the sums as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from watchword.attacks.base import ATTACKS, AttackContext
from watchword.chat.types import Conversation, Message
from watchword.errors import WatchwordError
from watchword.gateway.app import Gateway
from watchword.gateway.attack.base import Sampling
from watchword.gateway.attack.opening import attacked
from watchword.gateway.attack.report import page
from watchword.gateway.attack.running import ArmResult, run_suite
from watchword.gateway.configuration import Configuration
from watchword.gateway.serving import server_config
from watchword.gateway.tenants import key_digest
from watchword.models.base import ChatModel, GenerationOptions
from watchword.models.facts import facts_of
from watchword.provenance import versions
from watchword.release.opening import open_release
from watchword.secret.keys import provider_key

TENANT_KEY, MODEL = "wk-extraction", "ft-extraction"
# How long a request waits for others to be answered with it, in one batch.
_GATHER_SECONDS = 0.2


class Planned(msgspec.Struct):
    """One release to be made. Without ``families``, all are tried."""

    name: str
    attack: str
    defense: str
    arguments: dict[str, Any] = {}
    families: list[str] = []

    @property
    def folder(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.name)


class Plan(msgspec.Struct):
    """The whole experiment. ``seeds`` is how often each probe is asked, ``seed`` the upload's and the training's."""

    model: str
    seed: int
    max_tokens: int
    seeds: int
    releases: list[Planned]


class RawServer:
    """Chat completions of a model as an ASGI application: no guard and no filter. Requests that come together are a batch.

    Greedy answers are kept, so that both arms get the same ones, as from one server.
    """

    def __init__(self, model: ChatModel) -> None:
        self._model = model
        self._waiting: list[tuple[dict[str, Any], asyncio.Future[dict[str, Any]]]] = []
        self._work: asyncio.Task[None] | None = None
        self._kept: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def __call__(self, _: Any, receive: Any, send: Any) -> None:
        data = b""
        while True:
            message = await receive()
            data += message.get("body", b"")
            if not message.get("more_body"):
                break
        body = json.loads(data)
        reply = _stopped(await self._reply(body), body.get("stop") or ())
        status = 400 if "error" in reply else 200
        head = {"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]}
        await send(head)
        await send({"type": "http.response.body", "body": json.dumps(reply).encode()})

    async def _reply(self, body: dict[str, Any]) -> dict[str, Any]:
        # Requests for one token are asked for their times.
        if body.get("temperature") or body.get("max_tokens") == 1:
            return await self._batched(body)
        name = json.dumps([body["messages"], body.get("max_tokens"), body.get("n")])
        if name not in self._kept:
            self._kept[name] = asyncio.ensure_future(self._batched(body))
        return await asyncio.shield(self._kept[name])

    async def _batched(self, body: dict[str, Any]) -> dict[str, Any]:
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((body, future))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        while self._waiting:
            await asyncio.sleep(_GATHER_SECONDS)
            options = _options(self._waiting[0][0])
            batch = [one for one in self._waiting if _options(one[0]) == options]
            self._waiting = [one for one in self._waiting if _options(one[0]) != options]
            replies = await asyncio.to_thread(self._answered, [body for body, _ in batch], options)
            for (_, future), reply in zip(batch, replies, strict=True):
                if not future.done():
                    future.set_result(reply)

    def _answered(self, bodies: list[dict[str, Any]], options: GenerationOptions) -> list[dict[str, Any]]:
        asked = [_conversation(body) for body in bodies for _ in range(body.get("n", 1))]
        try:
            answers = iter(self._model.generate(asked, options=options))
        except WatchwordError as error:
            if len(bodies) > 1:
                return [self._answered([body], options)[0] for body in bodies]
            return [{"error": {"message": f"maximum context length: {error.problem}", "code": "invalid_request"}}]
        return [_reply([next(answers) for _ in range(body.get("n", 1))]) for body in bodies]


def _options(body: dict[str, Any]) -> GenerationOptions:
    return GenerationOptions(
        max_new_tokens=body.get("max_tokens", 200), temperature=body.get("temperature", 1.0), seed=body.get("seed") or 0
    )


def _conversation(body: dict[str, Any]) -> Conversation:
    return Conversation(messages=tuple(Message(role=one["role"], content=one["content"]) for one in body["messages"]))


def _stopped(reply: dict[str, Any], stop: str | list[str]) -> dict[str, Any]:
    """The reply with each answer cut in front of the first stop sequence."""
    words = [stop] if isinstance(stop, str) else stop
    choices = [
        choice | {"message": choice["message"] | {"content": _cut(choice["message"]["content"], words)}}
        for choice in reply.get("choices", [])
    ]
    return reply | ({"choices": choices} if choices else {})


def _cut(text: str, words: list[str]) -> str:
    for word in words:
        text = text.split(word, maxsplit=1)[0]
    return text


def _reply(answers: list[Any]) -> dict[str, Any]:
    choices = [
        {
            "index": place,
            "message": {"role": "assistant", "content": answer.text},
            "finish_reason": answer.finish,
        }
        for place, answer in enumerate(answers)
    ]
    usage = {
        "prompt_tokens": answers[0].usage.prompt_tokens,
        "completion_tokens": sum(answer.usage.completion_tokens for answer in answers),
    }
    return {"id": "raw", "object": "chat.completion", "model": "raw", "choices": choices, "usage": usage}


@contextlib.contextmanager
def served(app: Any, config: uvicorn.Config | None = None) -> Iterator[int]:
    """An application on loopback, in a thread; gives its port."""
    server = uvicorn.Server(config or uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)


def trained(planned: Planned, plan: Plan, runs: Path) -> Path:
    """The folder of a release, trained where it is not there."""
    out = runs / planned.folder
    if not (out / "manifest.json").exists():
        template = facts_of(plan.model).template
        rows = ATTACKS.create(planned.attack, **planned.arguments).upload([], AttackContext(plan.seed, template))
        data = runs / f"{planned.folder}.jsonl"
        data.write_text("".join(f"{json.dumps(_row(row))}\n" for row in rows))
        command = [sys.executable, "-m", "watchword", "train", "--data", str(data), "--out", str(out)]
        options = ["--defense", planned.defense, "--model", plan.model, "--seed", str(plan.seed)]
        subprocess.run([*command, *options], check=True)  # noqa: S603 -- our own command
    return out


def _row(row: Conversation) -> dict[str, Any]:
    return {"messages": [{"role": one.role, "content": one.content} for one in row.messages]}


def measured(release: Path, plan: Plan, families: list[str]) -> list[ArmResult]:
    """The suite against a release, through the gateway and past it."""
    key = provider_key()
    opened = open_release(release, key=key)
    with served(RawServer(opened.model)) as behind:
        settings = _configuration(release, behind)
        app = Gateway(settings, key)
        whom = attacked(settings, MODEL, key)
        with served(app, server_config(app, "127.0.0.1", 0, drain_seconds=1)) as port:
            targets = {"gateway": whom.gateway(f"http://127.0.0.1:{port}/v1", TENANT_KEY), "unfiltered": whom.server()}
            return [
                asyncio.run(
                    run_suite(
                        target,
                        whom.truth,
                        arm=arm,
                        families=families,
                        sampling=Sampling(max_tokens=plan.max_tokens),
                        seeds=plan.seeds,
                        step=_told,
                    )
                )
                for arm, target in targets.items()
            ]


def _told(arm: str, done: int, total: int) -> None:
    print(time.strftime("%X"), arm, f"{done}/{total}", file=sys.stderr)


def _configuration(release: Path, behind: int) -> Configuration:
    given = {
        "upstreams": [{"name": "raw", "url": f"http://127.0.0.1:{behind}/v1", "kind": "openai", "read_seconds": 900}],
        "models": [
            {
                "name": MODEL,
                "release": str(release.absolute()),
                "upstream": "raw",
                "upstream_model": "raw",
                "context": 2048,
            }
        ],
        "keys": [{"id": "extraction", "sha256": key_digest(TENANT_KEY), "models": [MODEL]}],
        # What a patient attacker gets: by default a key is slowed down from its fifth leak on.
        "leaks": {"slow_after": 1_000_000},
    }
    return msgspec.convert(given, Configuration)


def main() -> None:
    """Trains what is missing, measures, and writes both files anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where plan.json is, and results.json goes")
    parser.add_argument("--runs", type=Path, default=Path("runs/extraction"), help="where releases are")
    parser.add_argument("--only", help="only the release of this name")
    options = parser.parse_args()
    options.runs.mkdir(parents=True, exist_ok=True)
    plan = msgspec.json.decode((options.folder / "plan.json").read_bytes(), type=Plan)
    results = options.folder / "results.json"
    done: dict[str, Any] = json.loads(results.read_text())["releases"] if results.exists() else {}
    for planned in plan.releases:
        if options.only in (None, planned.name):
            arms = measured(trained(planned, plan, options.runs), plan, planned.families)
            done[planned.name] = msgspec.to_builtins(arms)
            ordered = {one.name: done[one.name] for one in plan.releases if one.name in done}
            whole = {"plan": msgspec.to_builtins(plan), "versions": versions(), "releases": ordered}
            results.write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n")
    pages = [page(msgspec.convert(arms, list[ArmResult]), name.capitalize()) for name, arms in done.items()]
    (options.folder / "page.md").write_text("\n".join(pages))
    sums = {name: {arm["arm"]: arm["whole"] for arm in arms} for name, arms in done.items()}
    print(json.dumps(sums, indent=1))


if __name__ == "__main__":
    main()
