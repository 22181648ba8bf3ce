"""The gateway as an ASGI application: who calls, what for, and one place where every error becomes an answer."""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from collections.abc import AsyncIterator
from urllib.parse import unquote

from watchword.errors import CallError, WatchwordError
from watchword.gateway.asking import Asking, CallOutcome
from watchword.gateway.configuration import Configuration
from watchword.gateway.exchange import ClientGoneError, HttpExchange, Lookout, Message, Receive, Send
from watchword.gateway.served import Models
from watchword.gateway.sources import ConfiguredModels, ModelSource
from watchword.gateway.tenants import Tenant, Tenants, TenantSource, tenant_of
from watchword.gateway.upstream import Upstream
from watchword.gateway.wire.reading import read_call
from watchword.gateway.wire.writing import health_json, model_json, models_json

log = logging.getLogger("watchword.gateway")
CHAT, MODELS, HEALTH = "/v1/chat/completions", "/v1/models", "/health"
_METHODS = {CHAT: "POST", MODELS: "GET", HEALTH: "GET"}
_CLIENT_GONE = 499


class Gateway:
    """Everything that one process serves. Raises DataError where an upstream's key is not at hand.

    Tenants and models are those of the configuration, unless sources of the caller's own take their place.
    """

    def __init__(
        self,
        configuration: Configuration,
        key: bytes,
        *,
        tenants: TenantSource | None = None,
        models: ModelSource | None = None,
    ) -> None:
        self._configuration = configuration
        self._tenants: TenantSource = tenants or Tenants.configured(configuration)
        self._model_source: ModelSource = models or ConfiguredModels(configuration.models)
        self._api_keys = {upstream.name: upstream.api_key() for upstream in configuration.upstreams}
        self._key = key
        self._lookout = Lookout()
        self._models: Models
        self._upstreams: dict[str, Upstream]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._exchange(HttpExchange(scope, receive, send))
        else:
            await send({"type": "websocket.close", "code": 1000})

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Opens releases and connections, and closes them."""
        settings = self._configuration
        self._models = Models(self._model_source, settings.upstreams, self._key)
        await self._models.open_all()
        most = settings.limits.max_reply_bytes
        self._upstreams = {up.name: Upstream(up, self._api_keys[up.name], most) for up in settings.upstreams}
        try:
            yield
        finally:
            await self._models.close()
            for upstream in self._upstreams.values():
                await upstream.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self.running():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _exchange(self, exchange: HttpExchange) -> None:
        record = _Record(exchange)
        try:
            await self._answered(exchange, record)
        except ClientGoneError:
            record.code = "client_gone"
        except Exception as error:  # noqa: BLE001 -- the boundary: whatever failed, no word of it reaches a tenant or the log
            record.code = await _failed(exchange, error)
        finally:
            record.write()

    async def _answered(self, exchange: HttpExchange, record: _Record) -> None:
        path = MODELS if exchange.path.startswith(f"{MODELS}/") else exchange.path
        if path not in _METHODS:
            raise CallError(
                "Unknown request URL. See the documentation for what is served here.", openai_code="unknown_url"
            )
        if exchange.method != _METHODS[path]:
            raise CallError(f"This URL takes {_METHODS[path]} only.", openai_code="method_not_allowed")
        if path == HEALTH:
            await self._health(exchange)
            return
        record.tenant = tenant = await tenant_of(exchange.header(b"authorization"), self._tenants)
        if path == CHAT:
            await self._chat(exchange, tenant, record)
        else:
            await _models(exchange, tenant)

    async def _health(self, exchange: HttpExchange) -> None:
        models, unavailable = await self._models.counted()
        await exchange.answer(health_json(models, unavailable), 503 if models and unavailable == models else 200)

    async def _chat(self, exchange: HttpExchange, tenant: Tenant, record: _Record) -> None:
        data = await exchange.body(self._configuration.limits.max_body_bytes)
        call = read_call(data, tenant.allowed)
        tenant.check_may_call(call.model)
        record.model = call.model
        async with exchange.while_there(self._lookout):
            served = await self._models.served(call.model)
            asking = Asking(call, served, self._upstreams[served.settings.upstream])
            record.outcome = asking.outcome
            if not call.stream:
                await exchange.answer(await asking.whole())
                return
            async with contextlib.aclosing(asking.streamed()) as events:
                async for event in events:
                    await exchange.send_events(event)
            await exchange.end_events()


class _Record:
    """One line of the log: what happened, and no text of anybody's."""

    def __init__(self, exchange: HttpExchange) -> None:
        self._exchange, self._started = exchange, time.monotonic()
        self.tenant: Tenant | None = None
        self.model: str | None = None
        self.code: str | None = None
        self.outcome = CallOutcome()

    def write(self) -> None:
        counts = self.outcome.counts
        line = {
            "event": "call",
            "id": self._exchange.id,
            "key": self.tenant.id if self.tenant else None,
            "model": self.model,
            "status": _CLIENT_GONE if self.code == "client_gone" else self._exchange.status,
            "code": self.code,
            "ms": round((time.monotonic() - self._started) * 1000, 1),
            "prompt_tokens": counts.prompt if counts else None,
            "completion_tokens": counts.completion if counts else None,
            "leaks": self.outcome.leaks or None,
        }
        level = logging.WARNING if self.outcome.leaks else logging.INFO
        log.log(level, {name: value for name, value in line.items() if value is not None})


async def _models(exchange: HttpExchange, tenant: Tenant) -> None:
    if exchange.path == MODELS:
        await exchange.answer(models_json(tenant.models))
        return
    name = unquote(exchange.path.removeprefix(f"{MODELS}/"))
    tenant.check_may_call(name)
    await exchange.answer(model_json(name))


async def _failed(exchange: HttpExchange, error: Exception) -> str:
    """Answers an error, and gives its code. Of one that nobody foresaw only its kind and its place are logged."""
    if not isinstance(error, CallError):
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{frame.filename}:{frame.lineno}" for frame in frames]
        log.error({"event": "failure", "id": exchange.id, "kind": type(error).__name__, "places": places})
        unavailable = isinstance(error, WatchwordError)
        code = "model_unavailable" if unavailable else "internal_error"
        error = CallError("The request could not be answered; try again later.", openai_code=code)
    with contextlib.suppress(OSError):
        await exchange.fail(error)
    return error.openai_code
