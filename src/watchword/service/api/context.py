"""What every route needs: the service's parts, and who calls. ``edge`` has seen to it that the caller may call."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from watchword.secret.wrapping import KeyProvider
from watchword.service.api.metrics import Metrics
from watchword.service.checking import FileChecker
from watchword.service.db import Database
from watchword.service.delivering import Sender
from watchword.service.releases import Removal
from watchword.service.settings import ServiceSettings
from watchword.service.storage import Blobs
from watchword.service.stores import StoreLook
from watchword.service.types.jobs import Idempotency
from watchword.service.types.tenants import Principal

_RETRY_COUNT, _IDEMPOTENCY_KEY = "x-stainless-retry-count", "idempotency-key"


@dataclass(frozen=True)
class Service:
    """The parts of the service that routes use. Made once for each process."""

    settings: ServiceSettings
    database: Database
    blobs: Blobs
    keys: KeyProvider
    checker: FileChecker
    sender: Sender
    metrics: Metrics
    engine_ready: Callable[[], Awaitable[bool]]
    removal: Removal
    stores: Mapping[str, StoreLook]


def service_of(request: Request) -> Service:
    """The service that the application was made for."""
    return cast(Service, request.app.state.service)


def caller_of(request: Request) -> Principal:
    """Who calls."""
    return cast(Principal, request.state.principal)


ServiceDep = Annotated[Service, Depends(service_of)]
Caller = Annotated[Principal, Depends(caller_of)]
# For the API's description; the key itself is looked at by ``edge``.
tenant_key = Security(HTTPBearer(scheme_name="tenant_key", description="A tenant's key.", auto_error=False))
operator_key = Security(HTTPBearer(scheme_name="operator_key", description="An operator's key.", auto_error=False))


def idempotency_of(request: Request, body: bytes) -> Idempotency:
    """How a repeated request is known: the caller's own key, or the official client's count of its tries."""
    key = request.headers.get(_IDEMPOTENCY_KEY)
    count = request.headers.get(_RETRY_COUNT, "0")
    retry = int(count) if count.isdecimal() and len(count) < 4 else 0
    return Idempotency(hashlib.sha256(body).hexdigest(), key or None, retry)


def now() -> float:
    """Seconds since 1970."""
    return time.time()
