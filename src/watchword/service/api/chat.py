"""Chats: the gateway's own code, with the service's keys and tuned models as its sources.

It puts the secret into each request and keeps it out of each reply. A model that is not ready is none.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from watchword.errors import ModelUnavailableError, NotFoundError, QuotaError
from watchword.gateway.app import Gateway
from watchword.gateway.configuration import Configuration, ModelSettings, UpstreamSettings
from watchword.gateway.routes import ROUTES, Work
from watchword.gateway.sources import FolderRelease, OfferedModel
from watchword.gateway.tenants import Tenant
from watchword.models.facts import facts_of
from watchword.release.artifact import check_owner
from watchword.release.engine import weights_name
from watchword.release.reading import Release
from watchword.service.db import Database
from watchword.service.engine_place import EnginePlace
from watchword.service.types import EVERY_TENANT, Principal, Scope, TunedModel, release_owner
from watchword.service.wire.faults import fault_of

_ENGINE = "engine"
# Counts a call of a key, and refuses it where there were too many.
Limit = Callable[[Principal], Awaitable[None]]


def gateway_route(path: str) -> str | None:
    """The template of a URL that the gateway answers; None where the API does."""
    if path in ROUTES:
        return None if ROUTES[path].work in (Work.SHOW_MODELS, Work.SHOW_HEALTH) else path
    return "/v1/responses/{response_id}" if path.startswith("/v1/responses/") else None


class KeyTenants:
    """Tenants by the keys in the database."""

    def __init__(self, database: Database, limit: Limit) -> None:
        self._database, self._limit = database, limit

    async def tenant(self, digest: str) -> Tenant | None:
        """The key's tenant, with the models that are ready now. Raises CallError for too many calls."""
        principal = await asyncio.to_thread(self._database.principal_of, digest)
        if principal is None or principal.scope is not Scope.TENANT:
            return None
        try:
            await self._limit(principal)
        except QuotaError as error:
            raise fault_of(error) from None
        models = await asyncio.to_thread(self._database.models, principal.tenant)
        return Tenant(principal.key_id, tuple(model.name for model in models))


class OwnedRelease(FolderRelease):
    """A tuned model's release, which opens only for the tenant, name and version that it was made for."""

    def __init__(self, model: TunedModel) -> None:
        super().__init__(Path(model.location))
        self._model = model

    async def open(self, key: bytes) -> Release:
        """Raises UnsealError for another's as well."""
        found, model = await super().open(key), self._model
        check_owner(Path(model.location), found.manifest, release_owner(model.tenant, model.name, model.version))
        return found


class TunedModels:
    """Models by the rows of the database. They are opened when they are first asked for."""

    def __init__(self, database: Database, engine: EnginePlace) -> None:
        self._database, self._engine = database, engine

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
        called = None if _loads(self._engine) else weights_name(found.weights_digest)
        settings = ModelSettings(
            name=name,
            release=found.location,
            upstream=_ENGINE,
            upstream_model=called,
            # The embedded engine reads what the base model can. Of another server the settings must say it.
            context=self._engine.context or context_of(found.base),
        )
        return OfferedModel(settings, OwnedRelease(found))


def _loads(engine: EnginePlace) -> bool:
    """Whether the engine loads adapters at run time."""
    return engine.kind != "openai"


@functools.cache
def context_of(base: str) -> int:
    """The most tokens that a base model reads at once. Raises WatchwordError where this process cannot know."""
    context = facts_of(base).context
    if context is None:
        raise ModelUnavailableError(f"how many tokens {base!r} reads is not known; give `context` in [engine]")
    return context


def chat_gateway(database: Database, engine: EnginePlace, limit: Limit, key: bytes, adapters: Path) -> Gateway:
    """The gateway of this process. The engine loads releases' adapters from the folder ``adapters``."""
    loads = _loads(engine)
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
        tenants=KeyTenants(database, limit),
        models=TunedModels(database, engine),
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
