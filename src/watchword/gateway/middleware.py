"""The gateway inside another ASGI application, such as one of FastAPI or Starlette, that serves chat completions itself.

Requests are guarded before the application sees them, and its replies are cleaned on their way out. Who may call is the
application's own business.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from typing import Literal, TypeVar

import msgspec

from watchword.errors import CallError
from watchword.files.decoding import DECODE_ERRORS
from watchword.gateway.back_doors import is_back_door, plain_path
from watchword.gateway.exchange import BODY_SECONDS, ClientGoneError, HttpExchange, Message, Receive, Send
from watchword.gateway.failures import told
from watchword.gateway.forms import FORMS, FormName, chat_path, form_at
from watchword.gateway.inner import Application, InnerResponse, answered, chat_scope
from watchword.gateway.protect import GuardedRequest, Protection
from watchword.gateway.wire.reply import no_reply

Result = TypeVar("Result")
# Bytes of a whole reply, of an error that are looked at, and of what is worked on without holding up others.
_MOST_REPLY, _ERROR_BYTES, _MUCH = 64 << 20, 1 << 16, 1 << 15
# What an application says of the caller, by its status; all else is said of the model's server.
_CALLERS = {
    401: ("Incorrect API key provided.", "invalid_api_key"),
    403: ("This key may not do that.", "permission_denied"),
    404: ("The model does not exist or you do not have access to it.", "model_not_found"),
}


class GatewayMiddleware:
    """``app`` behind the secret of a release, or of several by the names that tenants ask for.

    Chat completions, completions, responses and Anthropic's messages are guarded wherever a path ends so. The application
    is asked for chat completions beside that path, and for nothing else. Known back doors to a model are answered with
    404, but for those in ``open_paths``. All ``other`` paths pass, or are refused as well.
    """

    def __init__(
        self,
        app: Application,
        protection: Protection | Mapping[str, Protection],
        *,
        other: Literal["pass", "refuse"] = "pass",
        open_paths: Collection[str] = (),
        max_body_bytes: int = 20 << 20,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._app, self._protection, self._other = app, protection, other
        self._open = frozenset(map(plain_path, open_paths))
        self._most_bytes, self._most_seconds = max_body_bytes, body_seconds

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection, as ASGI has it."""
        if scope["type"] not in ("http", "websocket") or self._passes(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._exchange(scope, HttpExchange(scope, receive, send))
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    def _passes(self, scope: Message) -> bool:
        path: str = scope["path"]
        form, opened = form_at(path), plain_path(path) in self._open
        if form == "chat" or (form is not None and not opened):
            # What a browser asks before it sends a request.
            return bool(scope["type"] == "http" and scope["method"] == "OPTIONS")
        return opened or (self._other == "pass" and not is_back_door(path))

    async def _exchange(self, scope: Message, exchange: HttpExchange) -> None:
        try:
            form = _form(exchange)
            exchange.faults = FORMS[form].faults
            _check_method(exchange)
            data = await exchange.body(self._most_bytes, self._most_seconds)
            async with exchange.while_there():
                guarded = await _beside(lambda: self._guarded(data, form), size=len(data))
                exchange.writer = guarded.writer
                await self._chat(chat_scope(scope, chat_path(scope["path"])), exchange, guarded)
        except ClientGoneError:
            return
        except Exception as error:  # noqa: BLE001 -- the boundary: an application's error may quote what it was asked
            with contextlib.suppress(OSError):
                await exchange.fail(told(error, exchange.id))

    def _guarded(self, data: bytes, form: FormName) -> GuardedRequest:
        if isinstance(self._protection, Protection):
            return self._protection.request(data, form)
        protection = self._protection.get(_model(data))
        if protection is None:
            raise _callers_fault(404)
        return protection.request(data, form)

    async def _chat(self, scope: Message, exchange: HttpExchange, guarded: GuardedRequest) -> None:
        if guarded.streams:
            async with answered(self._app, scope, guarded.body) as response:
                await _checked(response, guarded)
                await _streamed(response, guarded, exchange)
            return
        clean = await self._whole(scope, guarded, guarded.body)
        if guarded.leaks and (again := guarded.again) is not None:
            clean = await self._whole(scope, guarded, again)
        await exchange.answer(clean)

    async def _whole(self, scope: Message, guarded: GuardedRequest, body: bytes) -> bytes:
        async with answered(self._app, scope, body) as response:
            await _checked(response, guarded)
            data = await response.whole(_MOST_REPLY)
        return await _beside(lambda: guarded.reply(data), size=len(data))


async def _streamed(response: InnerResponse, guarded: GuardedRequest, exchange: HttpExchange) -> None:
    stream = guarded.stream()
    async for piece in response.pieces:
        if clean := stream.feed(piece):
            await exchange.send_events(clean)
        if stream.ended:
            break
    if rest := stream.end():
        await exchange.send_events(rest)
    await exchange.end_events()


async def _checked(response: InnerResponse, guarded: GuardedRequest) -> None:
    """Raises CallError for another response than an answer, in words of our own."""
    if response.status in _CALLERS:
        raise _callers_fault(response.status)
    if response.status != 200:
        said = await anext(response.pieces, b"")
        raise await _beside(lambda: guarded.refusal(response.status, said[:_ERROR_BYTES]), size=len(guarded.body))
    if response.encoded:
        raise no_reply()


def _callers_fault(status: int) -> CallError:
    problem, code = _CALLERS[status]
    return CallError(problem, openai_code=code)


def _form(exchange: HttpExchange) -> FormName:
    form = form_at(exchange.path)
    if form is None:
        raise CallError(
            "Unknown request URL. See the documentation for what is served here.", openai_code="unknown_url"
        )
    return form


def _check_method(exchange: HttpExchange) -> None:
    if exchange.method != "POST":
        raise CallError("This URL takes POST only.", openai_code="method_not_allowed")


class _Model(msgspec.Struct):
    model: str


def _model(data: bytes) -> str:
    """The model that is asked for; what is wrong with the rest of the request is told by whoever reads it all."""
    try:
        return msgspec.json.decode(data, type=_Model).model
    except DECODE_ERRORS:
        raise CallError("The request's body names no model.", openai_code="invalid_value", param="model") from None


async def _beside(function: Callable[[], Result], *, size: int) -> Result:
    """The function's result; where much has to be read, without holding up others."""
    return await asyncio.to_thread(function) if size > _MUCH else function()
