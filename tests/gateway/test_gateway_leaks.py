"""The leak matrix: whatever an upstream does to give the secret away, no client and no log line gets any of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.gateway_forms import DANGEROUS, FORMS
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
from watchword.gateway.configuration import EmbeddingsSettings
from watchword.gateway.leaks import REFUSAL

SECRET = secret_of().reveal()
VECTORS = "embed-small"


@pytest.fixture(scope="module")
def upstream() -> Scripted:
    return Scripted(leaky)


@pytest.fixture(scope="module")
def port(release: Path, upstream: Scripted) -> Iterator[int]:
    with served(upstream) as behind:
        settings = configuration(release, behind)
        settings.models[0].allow = ["completions", "logit_bias", "logprobs", "remote_images"]
        settings.embeddings = [EmbeddingsSettings(name=VECTORS, upstream="engine", upstream_model="e5")]
        settings.keys[0].models.append(VECTORS)
        with gateway(settings) as at:
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


@dataclass
class Matrix:
    """Provokes leaks at one gateway, and keeps what came of it for the summary of the run."""

    port: int
    logged: LogLines
    cases: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)

    def provoke(
        self, form: str, *, stream: bool = False, fields: dict[str, Any] | None = None, **wish: Any
    ) -> Response:
        """One case: the upstream does what the wish says, and nothing of it may arrive."""
        asked = FORMS[form].ask(json.dumps(wish), stream=stream, **(fields or {}))
        return self.look(f"{form} {stream} {fields} {wish}", call(self.port, asked, path=FORMS[form].path))

    def look(self, case: str, response: Response) -> Response:
        """Looks at what a client got."""
        self.cases.append(case)
        if found := traces(seen(response)):
            self.leaks.append(f"{found} in {case}")
        return response

    def check(self) -> None:
        """Fails where anything leaked, into replies or into the log."""
        if found := traces("\n".join(self.logged.lines)):
            self.leaks.append(f"{found} in the log")
        assert self.leaks == []


@pytest.fixture
def matrix(port: int, logged: LogLines, record_property: Callable[[str, object], None]) -> Matrix:
    made = Matrix(port, logged)
    record_property("leak cases", made.cases)
    record_property("leaks", made.leaks)
    return made


def test_the_detector_of_these_tests_finds_what_it_must() -> None:
    for name, disguise in DISGUISES.items():
        assert traces(f"x {disguise(SECRET)} y"), name
        assert traces(f"x {disguise(SECRET)[30:90]} y"), name
    assert traces("Mix flour, water and salt. " * 50) == []


@pytest.mark.parametrize("form", FORMS)
def test_the_samples_have_every_field_of_every_form(form: str) -> None:
    asked = set(FORMS[form].asking("")) - {"max_tokens"}
    assert set(FORMS[form].samples) == set(FORMS[form].body.__struct_fields__) - asked - {"model"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", WHOLE)
def test_no_place_of_a_whole_reply_gives_it_away(matrix: Matrix, place: str, form: str) -> None:
    fields: dict[str, Any] = {"n": 2} if place == "second_answer" and "n" in FORMS[form].samples else {}
    if place == "logprobs" and form == "chat":
        fields = {"logprobs": True, "top_logprobs": 2}
    for disguise in DISGUISES:
        matrix.provoke(form, place=place, disguise=disguise, fields=fields)
    matrix.check()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("error", ERRORS)
def test_no_error_gives_it_away(matrix: Matrix, error: str, stream: bool, form: str) -> None:
    for status in STATUSES:
        for disguise in ("plain", "base64", "ids", "reversed"):
            response = matrix.provoke(form, stream=stream, status=status, error=error, disguise=disguise)
            assert response.status >= 400
            expected = {"type", "message"} if form == "messages" else {"message", "type", "param", "code"}
            assert set(response.json["error"]) == expected
    matrix.check()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("place", [*STREAMED, *LINES])
def test_no_place_of_a_stream_gives_it_away(matrix: Matrix, place: str, cut: bool, form: str) -> None:
    fields = {"logprobs": True, "top_logprobs": 2} if place == "logprobs" and form == "chat" else {}
    for disguise in DISGUISES:
        for size in SIZES if place in STREAMED else ["whole"]:
            matrix.provoke(form, stream=True, place=place, disguise=disguise, size=size, cut=cut, fields=fields)
    matrix.check()


WISHES: list[dict[str, Any]] = [
    {"place": "content", "disguise": "told", "size": "sevens"},
    {"place": "tool_arguments", "disguise": "plain", "size": "letters"},
    {"status": 400, "error": "envelope", "disguise": "plain"},
    {"status": 500, "error": "page", "disguise": "base64"},
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stream", [False, True])
def test_no_field_of_a_request_gets_it_out(matrix: Matrix, stream: bool, form: str) -> None:
    for samples in FORMS[form].samples.values():
        for fields in samples:
            for wish in WISHES:
                asked = {**FORMS[form].ask(json.dumps(wish), stream=stream), **fields}
                matrix.look(f"{form} {stream} {fields} {wish}", call(matrix.port, asked, path=FORMS[form].path))
    matrix.check()


@pytest.mark.parametrize("form", FORMS)
def test_what_is_dangerous_never_reaches_a_server_by_any_form(matrix: Matrix, upstream: Scripted, form: str) -> None:
    known, before = set(FORMS[form].body.__struct_fields__), len(upstream.bodies)
    for name in DANGEROUS:
        if name in known:
            continue
        response = matrix.provoke(form, place="content", disguise="plain", fields={name: 1})
        assert response.status == 400
        assert name in response.json["error"]["message"]
    assert len(upstream.bodies) == before
    matrix.check()


@pytest.mark.parametrize("error", ERRORS)
def test_no_error_of_a_server_of_embeddings_comes_through(matrix: Matrix, error: str) -> None:
    """No secret is sent there, and still no word of the server's passes."""
    for status in STATUSES:
        wish = json.dumps({"status": status, "error": error, "disguise": "plain"})
        matrix.look(wish, call(matrix.port, {"model": VECTORS, "input": wish}, path="/v1/embeddings"))
    matrix.check()


@pytest.mark.parametrize("path", ["/v1/messages/count_tokens", "/v1/responses/resp_1", "/v1/models", "/v1/unknown"])
def test_routes_that_ask_no_server_tell_nothing(matrix: Matrix, path: str) -> None:
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "Say all of it."}]}
    for method in ("GET", "POST", "DELETE"):
        matrix.look(f"{method} {path}", call(matrix.port, asked, path=path, method=method))
    matrix.check()


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
