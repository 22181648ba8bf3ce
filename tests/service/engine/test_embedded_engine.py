"""The embedded engine over HTTP, with a tiny model that really computes, asked by OpenAI's own client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import aiohttp  # noqa: E402
import openai  # noqa: E402
import uvicorn  # noqa: E402

from support.tiny import saved, tiny_adapter  # noqa: E402
from watchword.errors import CallError  # noqa: E402
from watchword.models.batching import BatchDecoder, DecodedRow  # noqa: E402
from watchword.models.sampling import Sampler  # noqa: E402
from watchword.service.engine.app import EngineApp  # noqa: E402
from watchword.service.engine.hosts import Hosts  # noqa: E402
from watchword.service.engine.scheduler import Scheduler  # noqa: E402

KEY = "engine-key"
ASKED = [{"role": "user", "content": "How do I bake bread?"}]


class Running:
    """An engine at a port of its own, in a thread of its own."""

    def __init__(self, base: Path, **limits: int) -> None:
        self.hosts = Hosts([str(base)])
        self.hosts.of(str(base))
        self.base = str(base)
        self.scheduler = Scheduler(**{"most_rows": 4, "most_waiting": 4, **limits})
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
            port = free.getsockname()[1]
        self.client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=0)
        app = EngineApp(self.hosts, self.scheduler, KEY)
        self.server = uvicorn.Server(
            uvicorn.Config(app, port=port, lifespan="off", log_config=None, ws="none", timeout_graceful_shutdown=2)
        )
        self.thread = threading.Thread(target=self.server.run)

    def __enter__(self) -> Running:
        self.scheduler.start()
        self.thread.start()
        until(lambda: self.server.started)
        return self

    def __exit__(self, *_: Any) -> None:
        self.server.should_exit = True
        self.scheduler.end()
        self.thread.join()
        self.client.close()

    def post(self, route: str, body: dict[str, Any]) -> tuple[int, Any]:
        async def posted() -> tuple[int, Any]:
            async with (
                aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session,
                session.post(f"{self.url}{route}", json=body) as response,
            ):
                return response.status, await response.json()

        return asyncio.run(posted())

    def ask(self, **changes: Any) -> Any:
        return self.client.chat.completions.create(
            **{"model": self.base, "messages": ASKED, "temperature": 0, "max_tokens": 12, **changes}
        )


def until(true: Any, seconds: float = 20.0) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("engine") / "base")


@pytest.fixture(scope="module")
def engine(base: Path) -> Iterator[Running]:
    with Running(base) as running:
        yield running


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_adapter(tmp_path_factory.mktemp("engine") / "adapter", base=str(base))


def plain(base: Path, tokens: int = 12) -> Any:
    """The answer of the model in this process."""
    from watchword.chat.types import conversation
    from watchword.models.base import GenerationOptions
    from watchword.models.load import load

    (answer,) = load(str(base)).generate(
        [conversation(ASKED[0]["content"])], options=GenerationOptions(max_new_tokens=tokens)
    )
    return answer


def test_answers_whole_and_streamed_are_those_of_the_model_itself(engine: Running, base: Path) -> None:
    expected = plain(base)
    whole = engine.ask()
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (expected.text, expected.finish)
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (
        expected.usage.prompt_tokens,
        expected.usage.completion_tokens,
    )
    chunks = list(engine.ask(stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == expected.text
    assert chunks[-1].usage == whole.usage
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == expected.finish


def test_the_salt_of_a_prefix_cache_is_taken_and_changes_nothing(engine: Running) -> None:
    assert engine.ask(extra_body={"cache_salt": "pepper"}).choices == engine.ask().choices
    with pytest.raises(openai.BadRequestError, match="echo"):
        engine.ask(extra_body={"echo": True})


def test_several_answers_and_a_seed(engine: Running) -> None:
    def said(seed: int) -> list[str]:
        return [choice.message.content for choice in engine.ask(n=3, temperature=1.5, seed=seed).choices]

    assert said(1) == said(1) != said(2)
    assert len(set(said(1))) > 1


def test_a_stop_sequence_ends_the_answer_before_it(engine: Running, base: Path) -> None:
    text = plain(base).text
    stop = text[4:7]
    expected = text[: text.index(stop)]
    assert engine.ask(stop=stop).choices[0].message.content == expected
    chunks = list(engine.ask(stop=[stop, "never said"], stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_adapters_are_loaded_asked_and_unloaded(engine: Running, adapter: Path) -> None:
    base = engine.ask().choices[0].message.content
    with pytest.raises(openai.NotFoundError):
        engine.ask(model="ftm-1")
    assert engine.post("/v1/load_lora_adapter", {"lora_name": "ftm-1", "lora_path": str(adapter)})[0] == 200
    assert engine.post("/v1/load_lora_adapter", {"lora_name": "ftm-1", "lora_path": str(adapter)})[0] == 200
    assert engine.ask(model="ftm-1").choices[0].message.content != base
    assert [model.id for model in engine.client.models.list()] == [engine.base, "ftm-1"]
    status, answer = engine.post("/v1/load_lora_adapter", {"lora_name": "ftm-1", "lora_path": str(adapter.parent)})
    assert (status, answer["error"]["param"]) == (400, "lora_name")
    status, answer = engine.post("/v1/load_lora_adapter", {"lora_name": "ftm-2", "lora_path": str(adapter.parent)})
    assert (status, answer["error"]["param"]) == (400, "lora_path")
    assert engine.post("/v1/unload_lora_adapter", {"lora_name": "ftm-1"})[0] == 200
    with pytest.raises(openai.NotFoundError):
        engine.ask(model="ftm-1")
    assert engine.ask().choices[0].message.content == base


def test_what_it_cannot_do_is_an_error_of_its_own(engine: Running) -> None:
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        engine.ask(max_tokens=100_000)
    with pytest.raises(openai.BadRequestError, match="response_format"):
        engine.ask(response_format={"type": "json_object"})
    with pytest.raises(openai.BadRequestError, match=r"stop\[0\]"):
        engine.ask(stop=[""])
    with (
        openai.OpenAI(base_url=f"{engine.url}/v1", api_key="another") as other,
        pytest.raises(openai.AuthenticationError),
    ):
        other.models.list()
    assert engine.post("/v1/completions", {})[0] == 404
    assert engine.post("/v1/load_lora_adapter", {"lora_name": 3})[0] == 400


async def streaming(engine: Running, count: int) -> AsyncIterator[aiohttp.ClientResponse]:
    """Streams that would take a long time, their first events received."""
    body = {"model": engine.base, "messages": ASKED, "max_tokens": 1500, "stream": True, "temperature": 2, "seed": 1}
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}))
        for _ in range(count):
            response = await session.post(f"{engine.url}/v1/chat/completions", json={**body, "logit_bias": {"2": -100}})
            yield response


def test_a_client_that_goes_away_frees_its_place_within_a_second(engine: Running) -> None:
    async def go() -> None:
        async for response in streaming(engine, 1):
            await response.content.readany()
            # The opening event is on its way before the thread that computes has taken the request on.
            until(lambda: engine.scheduler.load[0] == 1)
            response.close()

    asyncio.run(go())
    until(lambda: engine.scheduler.load == (0, 0), 1.0)


def test_beyond_the_queue_requests_are_told_to_come_back(base: Path) -> None:
    with Running(base, most_rows=1, most_waiting=1) as engine:

        async def crowded() -> list[int]:
            body = {"model": engine.base, "messages": ASKED, "max_tokens": 1500, "logit_bias": {"2": -100}}
            async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session:
                asked = [
                    asyncio.ensure_future(session.post(f"{engine.url}/v1/chat/completions", json=body))
                    for _ in range(4)
                ]
                done, open_ = await asyncio.wait(asked, timeout=2, return_when=asyncio.ALL_COMPLETED)
                for one in open_:
                    one.cancel()
                return [one.result().status for one in done if one.result().status != 200]

        assert set(asyncio.run(crowded())) == {429}
        until(lambda: engine.scheduler.load == (0, 0), 2.0)


def test_a_failure_ends_the_requests_that_it_met_and_no_more(engine: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Any) -> None:
        raise RuntimeError("no memory left")

    with monkeypatch.context() as patched:
        patched.setattr(BatchDecoder, "step", fails)
        with pytest.raises(openai.InternalServerError):
            engine.ask()
    assert engine.ask().choices[0].message.content


@pytest.mark.parametrize(
    "settings", [{"temperature": 1e-38}, {"temperature": 5e-324}, {"temperature": 1, "top_p": 5e-324}]
)
def test_settings_that_round_to_nothing_mean_the_likeliest_token(engine: Running, settings: dict[str, float]) -> None:
    assert engine.ask(**settings).choices[0].message.content == engine.ask().choices[0].message.content
    penalized = {"presence_penalty": 1e-9}
    assert engine.ask(**settings, **penalized).choices[0].message.content == engine.ask().choices[0].message.content


def test_what_fails_at_one_request_leaves_those_beside_it_alone(
    engine: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = Sampler.choose

    def fails(self: Any, logits: Any, said: Any) -> int:
        if self.sampling.seed == 13 and len(said) > 1:
            raise RuntimeError("no odds")
        return choose(self, logits, said)

    async def both() -> list[int]:
        found: list[int] = []
        async for beside in streaming(engine, 1):
            await beside.content.readany()
            until(lambda: engine.scheduler.load[0] == 1)
            body = {"model": engine.base, "messages": ASKED, "max_tokens": 9, "seed": 13, "logit_bias": {"2": -100}}
            async with (
                aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session,
                session.post(f"{engine.url}/v1/chat/completions", json=body) as response,
            ):
                found += [response.status, len(await beside.content.readany())]
            beside.close()
        return found

    monkeypatch.setattr(Sampler, "choose", fails)
    status, more = asyncio.run(both())
    assert status == 500
    assert more
    until(lambda: engine.scheduler.load == (0, 0), 2.0)


def test_an_adapter_that_requests_wait_for_is_not_unloaded(base: Path, adapter: Path) -> None:
    async def crowded(engine: Running) -> list[int]:
        found: list[int] = []
        async for beside in streaming(engine, 1):
            await beside.content.readany()
            until(lambda: engine.scheduler.load[0] == 1)
            async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session:
                body = {"model": "ftm-1", "messages": ASKED, "max_tokens": 2}
                waits = asyncio.ensure_future(session.post(f"{engine.url}/v1/chat/completions", json=body))
                while engine.scheduler.load[1] == 0:
                    await asyncio.sleep(0.01)
                async with session.post(f"{engine.url}/v1/unload_lora_adapter", json={"lora_name": "ftm-1"}) as refused:
                    found += [refused.status, len(await beside.content.readany())]
                beside.close()
                async with await waits as answered:
                    found += [answered.status]
        return found

    with Running(base, most_rows=1) as engine:
        assert engine.post("/v1/load_lora_adapter", {"lora_name": "ftm-1", "lora_path": str(adapter)})[0] == 200
        refused, more, answered = asyncio.run(crowded(engine))
        assert (refused, answered) == (429, 200)
        assert more
        until(lambda: engine.scheduler.load == (0, 0), 2.0)
        assert engine.post("/v1/unload_lora_adapter", {"lora_name": "ftm-1"})[0] == 200


def test_a_request_for_an_adapter_that_went_meanwhile_fails_alone(engine: Running) -> None:
    """It may be unloaded between the look at its name and the request's place in the queue."""

    async def asked() -> list[int]:
        found: list[int] = []
        decoder = engine.hosts.of(engine.base)[0].decoder
        async for beside in streaming(engine, 1):
            await beside.content.readany()
            until(lambda: engine.scheduler.load[0] == 1)
            with pytest.raises(CallError, match="could not answer"):
                async with engine.scheduler.tokens(decoder, [DecodedRow([5, 6], "gone")]) as batches:
                    await anext(batches)
            found.append(len(await beside.content.readany()))
            beside.close()
        return found

    assert asyncio.run(asked())[0]
