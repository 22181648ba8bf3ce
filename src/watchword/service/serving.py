"""The API as a process: its parts put together, uvicorn in front, and what goes on beside the calls."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator

import uvicorn

from watchword.data.limits import Limits
from watchword.data.reading import Reading
from watchword.files.addresses import Address
from watchword.gateway.app import Gateway
from watchword.secret.wrapping import wrapping_of
from watchword.service.api.app import service_app
from watchword.service.api.chat import chat_gateway, gateway_route
from watchword.service.api.context import Service
from watchword.service.api.edge import App, Edge, Message, Receive, Send
from watchword.service.api.files import check_in_turn
from watchword.service.api.metrics import Gauges, Metrics
from watchword.service.api.pace import Pace
from watchword.service.api.telemetry import export_traces
from watchword.service.checking import FileChecker
from watchword.service.db import Database, open_database
from watchword.service.delivering import Sender
from watchword.service.engine_place import EnginePlace, answers, unload
from watchword.service.housekeeping import Housekeeping
from watchword.service.keys import key_digest, well_formed
from watchword.service.releases import Removal
from watchword.service.settings import ServiceSettings
from watchword.service.storage import Blobs
from watchword.service.stores import StoreLook
from watchword.service.types.tenants import Principal
from watchword.service.webhooks import Dispatcher

_ROW_BYTES = 4 << 20


def run_api(settings: ServiceSettings, engine: EnginePlace, drain_seconds: int) -> None:
    """Serves the API until SIGTERM: then new connections are refused, and open calls have so many seconds to end."""
    export_traces()
    config = uvicorn.Config(
        api(settings, engine),
        host=settings.service.host,
        port=settings.service.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=drain_seconds,
    )
    uvicorn.Server(config).run()


def api(settings: ServiceSettings, engine: EnginePlace) -> App:
    """The whole API as an ASGI application."""
    key = settings.key()
    database = open_database(settings, key)
    keys = wrapping_of(key)
    service = Service(
        settings=settings,
        database=database,
        blobs=Blobs(settings.storage_url, keys),
        keys=keys,
        checker=FileChecker(
            Reading(limits=Limits(bytes=_largest_file(settings), row_bytes=_ROW_BYTES)),
            lambda tenant: settings.limits_of(tenant).weight,
        ),
        sender=Sender(private=settings.webhooks.private),
        metrics=Metrics(functools.partial(_gauges, database)),
        engine_ready=functools.partial(answers, engine),
        removal=Removal(settings, database, functools.partial(unload, engine)),
        stores={
            "storage": StoreLook(Address.parse(settings.storage_url)),
            "releases": StoreLook(settings.release_place),
        },
    )
    pace = Pace(database.spend, lambda tenant: settings.limits_of(tenant).requests_per_minute)
    gateway = chat_gateway(database, engine, pace.take, key, settings)
    edge = Edge(
        service_app(service, gateway, gateway_route),
        _Keys(database),
        service.metrics,
        limit=pace.take,
        asks_itself=lambda path: gateway_route(path) is not None,
    )
    return _Living(edge, service, gateway)


def _largest_file(settings: ServiceSettings) -> int:
    """What any tenant may upload, who may each have limits of their own."""
    return max(limits.file_bytes for limits in (settings.limits, *settings.tenants.values()))


class _Keys:
    """Who calls, by the keys in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def principal(self, authorization: str) -> Principal | None:
        """Whose key it is. What cannot be a key is not looked up."""
        scheme, _, key = authorization.partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not well_formed(key):
            return None
        return await asyncio.to_thread(self._database.principal_of, key_digest(key))


class _Living:
    """An ASGI application with what goes on as long as it runs."""

    def __init__(self, app: App, service: Service, gateway: Gateway) -> None:
        self._app, self._service, self._gateway = app, service, gateway

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection, as ASGI has it."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await receive()
        async with self._running():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        service = self._service
        dispatcher = Dispatcher(service.database, service.keys, service.sender, service.metrics.delivered)
        keeping = Housekeeping(
            service.database,
            service.blobs,
            service.settings.retention,
            functools.partial(check_in_turn, service),
            service.removal.of_all,
        )
        async with self._gateway.running():
            tasks = [asyncio.create_task(dispatcher.run()), asyncio.create_task(keeping.run())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await service.sender.close()
                service.checker.close()
                service.database.close()


def _gauges(database: Database) -> Gauges:
    figures = database.figures()
    return {
        "watchword_jobs": {state.value: float(count) for state, count in figures.jobs.items()},
        "watchword_models": {state.value: float(count) for state, count in figures.models.items()},
        "watchword_deliveries_due": {"due": float(figures.deliveries_due)},
        "watchword_oldest_waiting_job_seconds": {"waiting": figures.oldest_waiting_seconds},
        "watchword_seals_unreadable": {"unreadable": float(figures.seals_unreadable)},
        "watchword_workers_without_store": {"away": float(figures.workers_without_store)},
    }
