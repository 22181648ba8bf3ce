"""The leak matrix: whatever an upstream does to give the secret away, no client and no log line gets any of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.gateway_parts import (
    MODEL,
    LogLines,
    Response,
    Scripted,
    call,
    completion,
    configuration,
    gateway,
    respond,
    served,
)
from support.leak_traces import seen, traces
from support.leaking import DISGUISES, ERRORS, LINES, SIZES, STATUSES, STREAMED, WHOLE, leaky
from support.served_release import secret_of
from watchword.gateway.leaks import REFUSAL

SECRET = secret_of().reveal()


@pytest.fixture(scope="module")
def port(release: Path) -> Iterator[int]:
    with served(Scripted(leaky)) as behind, gateway(configuration(release, behind)) as at:
        yield at


@pytest.fixture
def logged() -> Iterator[LogLines]:
    lines = LogLines()
    loggers = [logging.getLogger(name) for name in ("", "watchword.gateway", "uvicorn.error", "asyncio", "aiohttp")]
    before = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.addHandler(lines)
        logger.setLevel(logging.DEBUG)
    yield lines
    for logger, level in before:
        logger.removeHandler(lines)
        logger.setLevel(level)


@pytest.fixture
def cases(record_property: Callable[[str, object], None]) -> list[str]:
    """The cases of a test, for the summary."""
    done: list[str] = []
    record_property("leak cases", done)
    return done


def provoke(port: int, cases: list[str], *, stream: bool = False, n: int = 1, **wish: Any) -> Response:
    cases.append(str(wish))
    asked = {"model": MODEL, "messages": [{"role": "user", "content": json.dumps(wish)}], "stream": stream, "n": n}
    response = call(port, asked)
    assert traces(seen(response)) == [], wish
    return response


def test_the_detector_of_these_tests_finds_what_it_must() -> None:
    for name, disguise in DISGUISES.items():
        assert traces(f"x {disguise(SECRET)} y"), name
        assert traces(f"x {disguise(SECRET)[30:90]} y"), name
    assert traces("Mix flour, water and salt. " * 50) == []


@pytest.mark.parametrize("place", WHOLE)
def test_no_place_of_a_whole_reply_gives_it_away(port: int, place: str, logged: LogLines, cases: list[str]) -> None:
    for disguise in DISGUISES:
        provoke(port, cases, place=place, disguise=disguise, n=2 if place == "second_answer" else 1)
    assert traces("\n".join(logged.lines)) == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("error", ERRORS)
def test_no_error_gives_it_away(port: int, error: str, stream: bool, logged: LogLines, cases: list[str]) -> None:
    for status in STATUSES:
        for disguise in ("plain", "base64", "ids", "reversed"):
            response = provoke(port, cases, stream=stream, status=status, error=error, disguise=disguise)
            assert response.status >= 400
            assert set(response.json["error"]) == {"message", "type", "param", "code"}
    assert traces("\n".join(logged.lines)) == []


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("place", [*STREAMED, *LINES])
def test_no_place_of_a_stream_gives_it_away(
    port: int, place: str, cut: bool, logged: LogLines, cases: list[str]
) -> None:
    for disguise in DISGUISES:
        for size in SIZES if place in STREAMED else ["whole"]:
            provoke(port, cases, stream=True, place=place, disguise=disguise, size=size, cut=cut)
    assert traces("\n".join(logged.lines)) == []


def test_a_whole_reply_that_leaks_is_asked_for_once_more_behind_the_secret_and_then_refused(
    release: Path, caplog: pytest.LogCaptureFixture
) -> None:
    replies = [f"It is {SECRET}.", "Mix flour."]

    async def once(upstream: Scripted, _: dict[str, Any], send: Any) -> None:
        await respond(send, json.dumps(completion(replies[(len(upstream.bodies) - 1) % len(replies)])).encode())

    upstream = Scripted(once)
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "seed": 3}
    with (
        caplog.at_level(logging.INFO),
        served(upstream) as behind,
        gateway(configuration(release, behind)) as at,
    ):
        assert call(at, asked).json["choices"][0]["message"]["content"] == "Mix flour."
        assert [body.get("seed") for body in upstream.bodies] == [3, None]
        assert upstream.bodies[0]["messages"] == upstream.bodies[1]["messages"]
        replies[1] = replies[0]
        (choice,) = call(at, asked).json["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == (REFUSAL, "content_filter")
        count = len(upstream.bodies)
        call(at, {**asked, "temperature": 0})
        assert len(upstream.bodies) == count + 1
    leaks = [record.msg["leaks"] for record in caplog.records if isinstance(record.msg, dict) and "leaks" in record.msg]
    assert leaks == [["letters"], ["letters", "letters"], ["letters"]]


def test_a_stream_that_leaks_ends_there_and_the_upstream_with_it(port: int) -> None:
    wish = json.dumps({"place": "content", "disguise": "told", "size": "sevens"})
    asked = {"model": MODEL, "messages": [{"role": "user", "content": wish}], "stream": True}
    response = call(port, {**asked, "stream_options": {"include_usage": True}})
    assert "Well: My instructions begin with: ".startswith(response.said) or response.said.startswith("Well: ")
    finishes = [choice["finish_reason"] for one in response.events for choice in one["choices"]]
    assert finishes[-1] == "content_filter"
    assert response.events[-1]["usage"]["completion_tokens"] > 0
    assert response.body.endswith(b"data: [DONE]\n\n")


def test_what_only_begins_like_the_secret_comes_whole_at_the_end(release: Path) -> None:
    beginning = SECRET[:12]

    async def near(_: Scripted, body: dict[str, Any], send: Any) -> None:
        from support.gateway_parts import DONE, begin, end, event, more

        await begin(send)
        for char in f"So: {beginning}":
            await more(send, event({"content": char}))
        await more(send, event({}, finish="stop") + DONE)
        await end(send)

    asked = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    with served(Scripted(near)) as behind, gateway(configuration(release, behind)) as at:
        assert call(at, asked).said == f"So: {beginning}"
