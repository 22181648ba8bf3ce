"""The gateway as an ASGI application: who calls, what for, and one place where every error becomes an answer."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from urllib.parse import unquote

from watchword.errors import CallError
from watchword.gateway.adapters import AdapterLoader, LoadedUpstream
from watchword.gateway.asking import Asking, CallOutcome
from watchword.gateway.configuration import Configuration
from watchword.gateway.embedding import Embedding
from watchword.gateway.exchange import TEXT, ClientGoneError, HttpExchange, Message, Receive, Send
from watchword.gateway.failures import told
from watchword.gateway.routes import METRICS, MODELS, Route, Work, faults_of, label_of, not_stored, route_of
from watchword.gateway.served import Models, Served
from watchword.gateway.sources import ConfiguredModels, ModelSource
from watchword.gateway.tenants import Tenant, Tenants, TenantSource, tenant_of
from watchword.gateway.upstream import Upstream
from watchword.gateway.watching import CallOver, Watch
from watchword.gateway.wire.decoding import invalid
from watchword.gateway.wire.faults import unsupported_model
from watchword.gateway.wire.form import Asked
from watchword.gateway.wire.listing import health_json, model_json, models_json
from watchword.gateway.wire.messages.writing import token_count_json

log = logging.getLogger("watchword.gateway")
_CLIENT_GONE = 499


class Gateway:
    """Everything that one process serves. Raises DataError where an upstream's key is not at hand.

    Tenants and models are those of the configuration, unless sources of the caller's own take their place. ``on_leak`` is
    told of each call whose answer held the secret: the key's id, the model, and the disguises.
    """

    def __init__(
        self,
        configuration: Configuration,
        key: bytes,
        *,
        tenants: TenantSource | None = None,
        models: ModelSource | None = None,
        on_leak: Callable[[str, str, Sequence[str]], None] | None = None,
    ) -> None:
        self._configuration = configuration
        self._tenants: TenantSource = tenants or Tenants.configured(configuration)
        self._model_source: ModelSource = models or ConfiguredModels(configuration.models)
        self._embeddings = {model.name: model for model in configuration.embeddings}
        self._api_keys = {upstream.name: upstream.api_key() for upstream in configuration.upstreams}
        self._key = key
        self._watch = Watch(configuration, on_leak)
        self._models: Models
        self._upstreams: dict[str, Upstream]
        self._loaders: dict[str, AdapterLoader]

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
        self._upstreams = {
            up.name: Upstream(up, self._api_keys[up.name], most, on_answer=self._watch.timer(up.name))
            for up in settings.upstreams
        }
        self._loaders = {
            up.name: AdapterLoader(self._upstreams[up.name], up) for up in settings.upstreams if up.load_adapters
        }
        try:
            async with self._watch.running():
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
            self._watch.over(record.written())

    async def _answered(self, exchange: HttpExchange, record: _Record) -> None:
        exchange.faults = faults_of(exchange.path)
        if exchange.path == METRICS and self._watch.shows_figures(exchange.header(b"authorization")):
            await self._figures(exchange)
            return
        route = route_of(exchange.path, exchange.method)
        if route.work is Work.SHOW_HEALTH:
            await self._health(exchange)
            return
        key = exchange.header(route.key_header)
        record.tenant = tenant = await tenant_of(exchange.header(b"authorization"), self._tenants, key)
        try:
            await self._work(exchange, tenant, record, route)
        except CallError as error:
            route.form.rename(error)
            raise

    async def _work(self, exchange: HttpExchange, tenant: Tenant, record: _Record, route: Route) -> None:
        match route.work:
            case Work.ASK:
                self._watch.check(tenant)
                await self._ask(exchange, tenant, record, route)
            case Work.COUNT:
                await self._count(exchange, tenant, record, route)
            case Work.EMBED:
                await self._embed(exchange, tenant, record)
            case Work.SHOW_MODELS:
                await _models(exchange, tenant)
            case _:
                raise not_stored()

    async def _health(self, exchange: HttpExchange) -> None:
        models, unavailable = await self._models.counted()
        await exchange.answer(health_json(models, unavailable), 503 if models and unavailable == models else 200)

    async def _figures(self, exchange: HttpExchange) -> None:
        waiting = {name: upstream.waiting for name, upstream in self._upstreams.items()}
        await exchange.answer(self._watch.figures(*await self._models.counted(), waiting), content_type=TEXT)

    async def _body(self, exchange: HttpExchange) -> bytes:
        limits = self._configuration.limits
        return await exchange.body(limits.max_body_bytes, limits.body_seconds)

    def _upstream_of(self, served: Served) -> Upstream | LoadedUpstream:
        name = served.settings.upstream
        if served.adapter is not None and name in self._loaders:
            return self._loaders[name].at(served.adapter)
        return self._upstreams[name]

    async def _ask(self, exchange: HttpExchange, tenant: Tenant, record: _Record, route: Route) -> None:
        asked = await self._read(exchange, tenant, record, route)
        exchange.writer = asked.writer
        async with exchange.while_there():
            asking = await self._asking(asked)
            record.outcome = asking.outcome
            if not asked.call.stream:
                await exchange.answer(await asking.whole())
                return
            async with contextlib.aclosing(asking.streamed()) as events:
                async for event in events:
                    await exchange.send_events(event)
            await exchange.end_events()

    async def _count(self, exchange: HttpExchange, tenant: Tenant, record: _Record, route: Route) -> None:
        asking = await self._asking(await self._read(exchange, tenant, record, route))
        tokens = await asking.prompt_tokens()
        if tokens is None:
            raise invalid("This model does not take these messages.", "messages")
        await exchange.answer(token_count_json(tokens))

    async def _embed(self, exchange: HttpExchange, tenant: Tenant, record: _Record) -> None:
        data = await self._body(exchange)
        async with exchange.while_there():
            embedding = Embedding(data, tenant, self._embeddings)
            record.model = embedding.model.name
            reply = await embedding.asked(self._upstreams[embedding.model.upstream])
            record.outcome.counts = embedding.counts
            await exchange.answer(reply)

    async def _read(self, exchange: HttpExchange, tenant: Tenant, record: _Record, route: Route) -> Asked:
        def allowed(model: str) -> Collection[str]:
            tenant.check_may_call(model)
            if model in self._embeddings:
                raise unsupported_model("makes embeddings only; ask it at /v1/embeddings.", model)
            record.model = model
            return tenant.allowed(model)

        return route.form.read(await self._body(exchange), allowed)

    async def _asking(self, asked: Asked) -> Asking:
        served = await self._models.served(asked.call.model)
        return await Asking.begun(asked, served, self._upstream_of(served))


class _Record:
    """One line of the log: what happened, and no text of anybody's."""

    def __init__(self, exchange: HttpExchange) -> None:
        self._exchange, self._started = exchange, time.monotonic()
        self.tenant: Tenant | None = None
        self.model: str | None = None
        self.code: str | None = None
        self.outcome = CallOutcome()

    def written(self) -> CallOver:
        """Writes the line, and gives what is to be counted."""
        counts, seconds = self.outcome.counts, time.monotonic() - self._started
        status = _CLIENT_GONE if self.code == "client_gone" else self._exchange.status
        key = self.tenant.id if self.tenant else None
        line = {
            "event": "call",
            "id": self._exchange.id,
            "key": key,
            "model": self.model,
            "status": status,
            "code": self.code,
            "ms": round(seconds * 1000, 1),
            "prompt_tokens": counts.prompt if counts else None,
            "completion_tokens": counts.completion if counts else None,
            "leaks": self.outcome.leaks or None,
        }
        level = logging.WARNING if self.outcome.leaks else logging.INFO
        log.log(level, {name: value for name, value in line.items() if value is not None})
        route, leaks = label_of(self._exchange.path), self.outcome.leaks
        return CallOver(self._exchange.id, route, status, seconds, key=key, model=self.model, leaks=leaks)


async def _models(exchange: HttpExchange, tenant: Tenant) -> None:
    if exchange.path == MODELS:
        await exchange.answer(models_json(tenant.models))
        return
    name = unquote(exchange.path.removeprefix(f"{MODELS}/"))
    tenant.check_may_call(name)
    await exchange.answer(model_json(name))


async def _failed(exchange: HttpExchange, error: Exception) -> str:
    """Answers an error, and gives its code."""
    answer = told(error, exchange.id)
    with contextlib.suppress(OSError):
        await exchange.fail(answer)
    return answer.openai_code
