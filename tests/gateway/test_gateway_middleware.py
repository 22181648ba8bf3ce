"""The gateway inside an application of Starlette's that serves chat completions itself, and mounted beside its routes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from support.gateway_forms import FORMS, Form
from support.gateway_parts import (
    ASKED,
    CONTEXT,
    DONE,
    MODEL,
    Scripted,
    call,
    completion,
    configuration,
    event,
    friendly,
    served,
    usage_event,
    wait_until,
)
from support.leak_traces import seen, traces
from support.leaking import DISGUISES
from support.served_release import KEY, release_folder, secret_of
from watchword import Protection, protect
from watchword.gateway.app import Gateway
from watchword.gateway.back_doors import is_back_door
from watchword.gateway.forms import form_at
from watchword.gateway.leaks import REFUSAL
from watchword.gateway.middleware import GatewayMiddleware

SECRET = secret_of().reveal()


class Inner:
    """Chat completions by the words of the last message. It keeps what it got, and counts what is under way."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.open = 0

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        asked = body["messages"][-1]["content"]
        if asked.startswith("status "):
            return JSONResponse({"error": {"message": SECRET}}, int(asked.split()[1]), headers={"X-Prompt": SECRET})
        if asked == "raise":
            raise RuntimeError(f"could not answer {body}")
        if body.get("stream"):
            return StreamingResponse(self.events(asked), media_type="text/event-stream", headers={"X-Prompt": SECRET})
        text = DISGUISES[asked](SECRET) if asked in DISGUISES else "Mix flour."
        return JSONResponse(completion(text), headers={"X-Prompt": SECRET})

    async def events(self, asked: str) -> AsyncIterator[bytes]:
        self.open += 1
        try:
            text = DISGUISES[asked](SECRET) if asked in DISGUISES else "Mix flour."
            for at in range(0, len(text), 7):
                yield event({"content": text[at : at + 7]})
            while asked == "for ever":
                yield event({"content": "and "})
                await asyncio.sleep(0.01)
            if asked in DISGUISES:
                await asyncio.sleep(30)
            if asked == "raise late":
                raise RuntimeError(SECRET)
            if asked != "cut":
                yield event({}, finish="stop") + usage_event() + DONE
        finally:
            self.open -= 1


@pytest.fixture
def inner() -> Inner:
    return Inner()


@pytest.fixture(scope="module")
def protection(release: Path) -> Protection:
    return protect(release, KEY, context=CONTEXT)


async def said(request: Request) -> Response:
    return PlainTextResponse("hello")


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


def application(inner: Inner, protection: Any, **options: Any) -> Starlette:
    routes = [
        Route("/v1/chat/completions", inner.chat, methods=["POST", "OPTIONS"]),
        Route("/hello", said),
        Route("/v1/completions", said, methods=["GET", "POST"]),
        Route("/generate", said, methods=["GET", "POST"]),
        WebSocketRoute("/v1/realtime", talk),
    ]
    return Starlette(
        routes=[Mount("/api", routes=routes), *routes],
        middleware=[Middleware(GatewayMiddleware, protection=protection, **options)],
    )


@pytest.fixture
def port(inner: Inner, protection: Protection) -> Iterator[int]:
    with served(application(inner, protection)) as at:
        yield at


def asking(text: str = "Hi", **more: Any) -> dict[str, Any]:
    return {
        "model": MODEL,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}],
        **more,
    }


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v1/chat/completions"])
def test_the_application_sees_the_guarded_request_and_the_tenant_a_clean_reply(
    port: int, inner: Inner, path: str
) -> None:
    whole = call(port, asking(), path=path)
    assert (whole.status, whole.json["choices"][0]["message"]["content"]) == (200, "Mix flour.")
    streamed = call(port, asking(stream=True), path=path)
    assert streamed.said == "Mix flour."
    assert streamed.body.endswith(DONE)
    for body in inner.bodies:
        assert body["messages"][0]["content"] == f"{SECRET}\nBe brief."
    assert "x-prompt" not in whole.headers | streamed.headers


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("disguise", DISGUISES)
def test_what_leaks_is_a_refusal_and_ends_the_applications_work(
    port: int, inner: Inner, disguise: str, stream: bool
) -> None:
    response = call(port, asking(disguise, stream=stream, seed=3))
    assert traces(seen(response)) == []
    if stream:
        assert response.events[-1]["choices"][0]["finish_reason"] == "content_filter"
        assert wait_until(lambda: inner.open == 0) < 1
    else:
        assert response.json["choices"][0]["message"]["content"] == REFUSAL
        assert [body.get("seed") for body in inner.bodies] == [3, None]


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("status 400", 400, "invalid_request"),
        ("status 401", 401, "invalid_api_key"),
        ("status 403", 403, "permission_denied"),
        ("status 404", 404, "model_not_found"),
        ("status 429", 429, "rate_limit_exceeded"),
        ("status 500", 502, "upstream_error"),
        ("status 204", 502, "upstream_error"),
        ("raise", 500, "internal_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_of_the_applications_keeps_its_sense_and_loses_its_words(
    port: int, text: str, status: int, code: str, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        response = call(port, asking(text, stream=stream))
    assert (response.status, response.json["error"]["code"]) == (status, code)
    assert traces(response.everything + caplog.text) == []


@pytest.mark.parametrize("text", ["cut", "raise late"])
def test_a_stream_that_breaks_ends_in_an_error(port: int, text: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        response = call(port, asking(text, stream=True))
    assert "Mix flour.".startswith(response.said)
    assert response.events[-1]["error"]["code"] in ("upstream_error", "internal_error")
    assert DONE not in response.body
    assert traces(response.everything + caplog.text) == []


def test_a_client_that_goes_away_ends_the_applications_work(port: int, inner: Inner) -> None:
    import socket

    data = json.dumps(asking("for ever", stream=True)).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(head.encode() + data)
    wait_until(lambda: inner.open == 1)
    connection.recv(10)
    connection.close()
    assert wait_until(lambda: inner.open == 0) < 1.0


def test_what_is_not_let_through_never_reaches_the_application(port: int, inner: Inner) -> None:
    assert call(port, asking(echo=True)).json["error"]["code"] == "unknown_parameter"
    assert call(port, b"{").json["error"]["code"] == "invalid_json"
    assert call(port, path="/v1/chat/completions", method="GET").json["error"]["code"] == "method_not_allowed"
    assert inner.bodies == []


def test_back_doors_are_shut_and_other_routes_are_open(port: int) -> None:
    assert call(port, path="/hello", method="GET").body == b"hello"
    for path in ("/v1/embeddings", "/v1//embeddings", "/V1/Embeddings/", "/api/v1/tokenize", "/generate"):
        assert call(port, ASKED, path=path).json["error"]["code"] == "unknown_url"


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize("leaks", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_a_request_is_guarded_and_asked_for_as_a_chat(
    inner: Inner, release: Path, form: Form, stream: bool, leaks: bool, prefix: str
) -> None:
    text = "base64" if leaks else "Hi"
    with served(application(inner, protect(release, KEY, context=CONTEXT, allow=["completions"]))) as at:
        got = call(at, form.ask(text, stream=stream, temperature=0), path=f"{prefix}{form.path}")
    assert got.status == 200
    assert [body["messages"][0]["content"].startswith(SECRET) for body in inner.bodies] == [True]
    assert inner.bodies[0]["messages"][-1]["content"] == text
    assert traces(seen(got)) == []
    assert leaks or stream or "Mix flour." in got.everything


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_what_is_wrong_is_told_in_the_form_of_its_url(port: int, inner: Inner, form: Form) -> None:
    got = call(port, form.ask("Hi", echo="x"), path=form.path)
    assert got.status in (400, 404)
    assert ("request_id" in got.json) == (form.path == "/v1/messages")
    assert call(port, method="GET", path=form.path).status == 405
    assert inner.bodies == []


def test_a_raw_prompt_is_taken_only_where_it_is_allowed(port: int, inner: Inner) -> None:
    got = call(port, {"model": MODEL, "prompt": "Hi"}, path="/v1/completions")
    assert (got.status, got.json["error"]["code"]) == (404, "unsupported_model")
    assert inner.bodies == []


def test_which_routes_pass_is_the_operators_choice(inner: Inner, protection: Protection) -> None:
    with served(application(inner, protection, open_paths=["/generate"])) as at:
        assert call(at, path="/generate", method="GET").body == b"hello"
        assert call(at, path="/api/generate", method="GET").status == 404
    with served(application(inner, protection, open_paths=["/v1/completions", "/v1/chat/completions"])) as at:
        assert call(at, path="/v1/completions", method="GET").body == b"hello"
        assert call(at, asking()).status == 200
        # Chats are never let through as they are.
        assert inner.bodies[-1]["messages"][0]["content"].startswith(SECRET)
    with served(application(inner, protection, other="refuse", open_paths=["/hello"])) as at:
        assert call(at, path="/hello", method="GET").body == b"hello"
        assert call(at, path="/api/hello", method="GET").status == 404
        assert call(at, asking()).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1/responses/resp_1",
        "/v1/chat/completions/chatcmpl-1/messages",
        "/v1/chat/completions/render",
        "/inference/v1/generate",
        "/v1/load_lora_adapter",
        "/openai/deployments/x/completions",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/completion",
        "\\v1\\completions",
    ],
)
def test_known_back_doors_are_known_under_any_prefix(path: str) -> None:
    assert is_back_door(path)
    assert is_back_door(f"/prefix{path}/")
    assert form_at(path) != "chat"


def test_an_open_back_door_for_websockets_is_shut(inner: Inner, protection: Protection) -> None:
    sent: list[Any] = []

    async def connect() -> None:
        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/v1/realtime", "headers": [], "query_string": b""}
        await application(inner, protection)(scope, receive, send)

    asyncio.run(connect())
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_a_browsers_first_question_passes(port: int) -> None:
    assert call(port, path="/v1/chat/completions", method="OPTIONS").status != 405


def test_several_releases_are_told_apart_by_the_model_that_is_asked_for(
    inner: Inner, protection: Protection, tmp_path: Path
) -> None:
    other = protect(release_folder(tmp_path, seed=8), KEY, context=CONTEXT)
    with served(application(inner, {MODEL: protection, "ft-2": other})) as at:
        assert call(at, asking()).status == call(at, {**asking(), "model": "ft-2"}).status == 200
        assert call(at, {**asking(), "model": "base"}).json["error"]["code"] == "model_not_found"
        assert call(at, b'{"model": 3}').json["error"]["code"] == "invalid_value"
    fronts = [body["messages"][0]["content"].split("\n")[0] for body in inner.bodies]
    assert fronts == [SECRET, secret_of(seed=8).reveal()]


def test_a_packed_reply_is_none(inner: Inner, protection: Protection) -> None:
    async def packing(scope: Any, receive: Any, send: Any) -> None:
        scope = {**scope, "headers": [*scope["headers"], (b"accept-encoding", b"gzip")]}
        await GZipMiddleware(Starlette(routes=[Route("/v1/chat/completions", inner.chat, methods=["POST"])]), 1)(
            scope, receive, send
        )

    def packed(scope: Any, receive: Any, send: Any) -> Any:
        return packing(
            {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]}, receive, send
        )

    with served(GatewayMiddleware(packed, protection)) as at:
        assert call(at, asking()).json["error"]["code"] == "upstream_error"


def test_a_long_request_is_worked_on_beside_the_others(port: int, inner: Inner) -> None:
    text = "bread " * 10_000
    assert call(port, asking(text)).status == 200
    assert inner.bodies[-1]["messages"][1]["content"] == text


def test_the_example_of_the_page_guards(inner: Inner, release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text("utf-8")
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "add_middleware" in code]
    monkeypatch.setenv("WATCHWORD_KEY", KEY.hex())
    app = Starlette(routes=[Route("/v1/chat/completions", inner.chat, methods=["POST"])])
    exec(code.replace('"runs/bakery"', repr(str(release))), {"app": app})
    with served(app) as at:
        assert call(at, asking()).status == 200
    assert inner.bodies[0]["messages"][0]["content"].startswith(SECRET)


def test_the_gateway_is_mounted_beside_an_applications_own_routes(release: Path) -> None:
    upstream = Scripted(friendly)
    with served(upstream) as behind:
        gateway = Gateway(configuration(release, behind), KEY)

        @contextlib.asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            async with gateway.running():
                yield

        app = Starlette(routes=[Route("/hello", said), Mount("/llm", app=gateway)], lifespan=lifespan)
        import uvicorn

        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False)
        with served(app, config) as at:
            assert call(at, path="/hello", method="GET").body == b"hello"
            assert call(at, ASKED, path="/llm/v1/chat/completions").status == 200
            assert call(at, path="/llm/v1/models", method="GET").json["data"][0]["id"] == MODEL
            assert call(at, path=f"/llm/v1/models/{MODEL}", method="GET").json["id"] == MODEL
            assert call(at, ASKED, path="/llm/v1/batches").json["error"]["code"] == "unknown_url"
    assert upstream.bodies[0]["messages"][0]["content"].startswith(SECRET)
