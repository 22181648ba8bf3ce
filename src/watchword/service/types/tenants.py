"""Who calls: tenants, their keys, and what a tenant has; and the pages in which lists are given."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar


class Scope(StrEnum):
    """What a key opens: one tenant's own objects, or the operator's view of all."""

    TENANT = "tenant"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Principal:
    """Who calls: a tenant, by one of its keys."""

    tenant: str
    key_id: str
    scope: Scope = Scope.TENANT


@dataclass(frozen=True)
class EveryTenant:
    """In a tenant's place: whichever it belongs to. For operators and for the service itself, never for a tenant's call."""


EVERY_TENANT = EveryTenant()
# Whose objects a query may see.
Owner = str | EveryTenant


@dataclass(frozen=True)
class ApiKey:
    """What is kept of a key. ``digest`` is its SHA-256 in hex; the key itself is shown once and kept nowhere."""

    id: str
    tenant: str
    scope: Scope
    digest: str = field(repr=False)
    name: str
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None


@dataclass(frozen=True)
class TenantUse:
    """What a tenant has now: files, bytes in them, jobs that wait, jobs that a worker holds."""

    tenant: str
    files: int
    bytes: int
    waiting: int
    active: int


_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Page(Generic[_Item]):
    """A part of a list, and whether there is more behind it."""

    items: tuple[_Item, ...]
    has_more: bool
