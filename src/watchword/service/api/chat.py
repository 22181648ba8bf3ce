"""Chats: the gateway's own code, with the service's keys and tuned models as its sources.

It puts the secret into each request and keeps it out of each reply. A model that is not ready is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from watchword.errors import NotFoundError
from watchword.gateway.app import Gateway
from watchword.gateway.configuration import Configuration, ModelSettings, UpstreamSettings
from watchword.gateway.sources import FolderRelease, OfferedModel
from watchword.gateway.tenants import Tenant
from watchword.release.engine import weights_name
from watchword.service.db import Database
from watchword.service.engine_place import EnginePlace
from watchword.service.types import EVERY_TENANT, Scope

# What the gateway answers; everything else is the API's own.
PATHS = ("/v1/chat/completions",)
_ENGINE = "engine"


class KeyTenants:
    """Tenants by the keys in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tenant(self, digest: str) -> Tenant | None:
        """The key's tenant, with the models that are ready now."""
        return await asyncio.to_thread(self._tenant, digest)

    def _tenant(self, digest: str) -> Tenant | None:
        principal = self._database.principal_of(digest)
        if principal is None or principal.scope is not Scope.TENANT:
            return None
        return Tenant(principal.key_id, tuple(model.name for model in self._database.models(principal.tenant)))


class TunedModels:
    """Models by the rows of the database. They are opened when they are first asked for."""

    def __init__(self, database: Database, *, loads_adapters: bool) -> None:
        self._database, self._loads_adapters = database, loads_adapters

    async def names(self) -> Sequence[str]:
        """None: there may be thousands."""
        return ()

    async def model(self, name: str) -> OfferedModel | None:
        """The model of this name, where it is ready."""
        return await asyncio.to_thread(self._model, name)

    def _model(self, name: str) -> OfferedModel | None:
        try:
            found = self._database.model(EVERY_TENANT, name)
        except NotFoundError:
            return None
        # A server that loads nothing at run time has the weights under this name already, or does not know it.
        called = None if self._loads_adapters else weights_name(found.weights_digest)
        settings = ModelSettings(name=name, release=found.location, upstream=_ENGINE, upstream_model=called)
        return OfferedModel(settings, FolderRelease(Path(found.location)))


def chat_gateway(database: Database, engine: EnginePlace, key: bytes, adapters: Path) -> Gateway:
    """The gateway of this process. The engine loads releases' adapters from the folder ``adapters``."""
    loads = engine.kind != "openai"
    upstream = UpstreamSettings(
        name=_ENGINE,
        url=engine.url,
        kind=engine.kind,
        api_key_env=engine.api_key_env,
        adapters=str(adapters) if loads else None,
        load_adapters=loads,
    )
    return Gateway(
        Configuration(upstreams=[upstream], models=[]),
        key,
        tenants=KeyTenants(database),
        models=TunedModels(database, loads_adapters=loads),
        on_leak=_Leaks(database).note,
    )


class _Leaks:
    """Reports what the leak filter found to operators: whose key, which model, which disguise, and no text."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writing: set[asyncio.Task[object]] = set()

    def note(self, key_id: str, model: str, channels: Sequence[str]) -> None:
        """Writes a report beside the call, which does not wait for it."""
        task: asyncio.Task[object] = asyncio.create_task(asyncio.to_thread(self._write, key_id, model, list(channels)))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    def _write(self, key_id: str, model: str, channels: list[str]) -> None:
        tenant = self._database.model(EVERY_TENANT, model).tenant
        self._database.add_report("leak", tenant, model, {"key": key_id, "channels": channels})
