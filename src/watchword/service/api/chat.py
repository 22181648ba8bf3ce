"""Chats: the gateway's own code, with the service's keys and models as its sources.

It puts the secret into each request and keeps it out of each reply. A model that is not ready is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from watchword.errors import QuotaError
from watchword.gateway.app import Gateway
from watchword.gateway.configuration import Configuration, UpstreamSettings
from watchword.gateway.routes import ROUTES, Work
from watchword.gateway.tenants import Tenant
from watchword.service.api.chat_models import ENGINE, ChatModels
from watchword.service.db import Database
from watchword.service.engine_place import EnginePlace
from watchword.service.settings import Policy, ServiceSettings
from watchword.service.types.tenants import Principal, Scope
from watchword.service.wire.faults import fault_of

# Counts a call of a key, and refuses it where there were too many.
Limit = Callable[[Principal], Awaitable[None]]


def gateway_route(path: str) -> str | None:
    """The template of a URL that the gateway answers; None where the API does."""
    if path in ROUTES:
        return None if ROUTES[path].work in (Work.SHOW_MODELS, Work.SHOW_HEALTH) else path
    return "/v1/responses/{response_id}" if path.startswith("/v1/responses/") else None


class KeyTenants:
    """Tenants by the keys in the database."""

    def __init__(self, database: Database, limit: Limit, policies: Mapping[str, Policy]) -> None:
        self._database, self._limit = database, limit
        self._bases = tuple(name for name, policy in policies.items() if policy.chat.enabled)

    async def tenant(self, digest: str) -> Tenant | None:
        """The key's tenant, with base models and its own that are ready now. Raises CallError for too many calls."""
        principal = await asyncio.to_thread(self._database.principal_of, digest)
        if principal is None or principal.scope is not Scope.TENANT:
            return None
        try:
            await self._limit(principal)
        except QuotaError as error:
            raise fault_of(error) from None
        models = await asyncio.to_thread(self._database.models, principal.tenant)
        return Tenant(principal.key_id, (*self._bases, *(model.name for model in models)))


def chat_gateway(
    database: Database, engine: EnginePlace, limit: Limit, key: bytes, settings: ServiceSettings
) -> Gateway:
    """The gateway of this process. The engine loads releases' adapters from the settings' folder of them."""
    upstream = UpstreamSettings(
        name=ENGINE,
        url=engine.url,
        kind=engine.kind,
        api_key_env=engine.api_key_env,
        adapters=str(settings.adapters) if engine.loads else None,
        load_adapters=engine.loads,
    )
    return Gateway(
        Configuration(upstreams=[upstream], models=[]),
        key,
        tenants=KeyTenants(database, limit, settings.policies),
        models=ChatModels(database, engine, settings),
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
        self._database.add_report(
            "leak", self._database.tenant_of(key_id), model, {"key": key_id, "channels": channels}
        )
