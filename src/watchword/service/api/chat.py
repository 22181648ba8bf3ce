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

    def __init__(self, database: Database) -> None:
        self._database = database

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
        settings = ModelSettings(
            name=name, release=found.location, upstream=_ENGINE, upstream_model=found.weights_digest
        )
        return OfferedModel(settings, FolderRelease(Path(found.location)))


def chat_gateway(database: Database, engine: EnginePlace, key: bytes) -> Gateway:
    """The gateway of this process."""
    upstream = UpstreamSettings(name=_ENGINE, url=engine.url, kind=engine.kind, api_key_env=engine.api_key_env)
    configuration = Configuration(upstreams=[upstream], models=[])
    return Gateway(configuration, key, tenants=KeyTenants(database), models=TunedModels(database))
