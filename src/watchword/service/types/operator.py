"""What operators and webhooks are told, and the audit log, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# The kind of a report on a release whose sealed secret cannot be read.
SEAL_REPORT = "seal"
# The kind of a report on a store that a worker cannot use, or can use again. Its subject is the worker.
STORE_REPORT = "store"


@dataclass(frozen=True)
class Report:
    """What only operators see. ``kind`` is screening, gate, leak, seal, store …; ``subject`` is a job's id, a model's name …"""

    id: str
    kind: str
    tenant: str
    subject: str
    created_at: float
    data: Mapping[str, Any]


@dataclass(frozen=True)
class WebhookEndpoint:
    """Where a tenant wants to be told. ``sealed_secret`` is a stream of ``secret.stream``, bound to ``webhook_binding``."""

    id: str
    tenant: str
    url: str
    events: tuple[str, ...]
    sealed_secret: bytes = field(repr=False)
    enabled: bool
    created_at: float


def webhook_binding(tenant: str) -> dict[str, str]:
    """What an endpoint's signing secret is sealed for."""
    return {"kind": "webhook", "tenant": tenant}


@dataclass(frozen=True)
class Delivery:
    """An event that is to reach one endpoint. ``attempts`` have been made; ``body`` is what is sent."""

    id: str
    event_id: str
    tenant: str
    endpoint_id: str
    type: str
    body: Mapping[str, Any]
    created_at: float
    attempts: int


@dataclass(frozen=True)
class AuditEntry:
    """One link of the audit log. ``digest`` covers all other fields, ``previous`` among them."""

    number: int
    at: float
    actor: str
    action: str
    tenant: str
    subject: str
    facts: Mapping[str, Any]
    previous: str
    digest: str


@dataclass(frozen=True)
class AuditHead:
    """The end of the audit log: how many entries there are, and the digest of the last."""

    number: int
    digest: str
