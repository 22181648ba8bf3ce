"""Whether this process lives, whether it can do its work, and its figures for Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from fastapi import APIRouter, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from watchword.errors import WatchwordError
from watchword.service.api.context import Service, ServiceDep, operator_key
from watchword.service.wire.operator import Health

router = APIRouter(tags=["operations"])
_PATIENCE_SECONDS = 3.0


@router.get("/healthz")
async def healthz() -> Health:
    """This process answers."""
    return Health(status="ok")


@router.get("/readyz", responses={503: {"model": Health}})
async def readyz(service: ServiceDep, response: Response) -> Health:
    """What this process needs is there: database and engine. Where a store is away, it is ready still: chats go on."""
    checks = {"database": _database(service), "engine": service.engine_ready()}
    checks |= {name: look.answers() for name, look in service.stores.items()}
    found = dict(zip(checks, await asyncio.gather(*map(_within, checks.values())), strict=True))
    if not (found["database"] and found["engine"]):
        response.status_code = 503
        return Health(status="unavailable", checks=found)
    return Health(status="ok" if all(found.values()) else "degraded", checks=found)


@router.get("/metrics", dependencies=[operator_key], response_class=Response)
def metrics(service: ServiceDep) -> Response:
    """Figures for Prometheus. They want an operator's key: how often the leak filter hits is no tenant's business."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


async def _within(check: Awaitable[bool]) -> bool:
    try:
        return await asyncio.wait_for(check, _PATIENCE_SECONDS)
    except (WatchwordError, OSError, TimeoutError):
        return False


async def _database(service: Service) -> bool:
    await asyncio.to_thread(service.database.revision)
    return True
