"""Tenants' keys: drawn here, kept as digests only, and what each may call."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from watchword.chat.fault import shown
from watchword.errors import CallError
from watchword.gateway.configuration import Configuration, KeySettings

_SCHEME = "bearer"


@dataclass(frozen=True)
class Tenant:
    """Who calls: ``id`` is safe to log, ``models`` are those that the key may call, in the order of a list of them.

    ``allow`` names for a model what is let through beyond the usual (``ModelSettings.allow``).
    """

    id: str
    models: tuple[str, ...]
    allow: Mapping[str, Collection[str]] = field(default_factory=dict)

    def check_may_call(self, model: str) -> None:
        """Raises CallError for a model that is not this tenant's. One that exists elsewhere is answered like none."""
        if model not in self.models:
            raise CallError(
                f"The model {shown(model)} does not exist or you do not have access to it.",
                openai_code="model_not_found",
                param="model",
            )

    def allowed(self, model: str) -> Collection[str]:
        """What is let through for a model beyond the usual; nothing for one that is not this tenant's."""
        return self.allow.get(model, ()) if model in self.models else ()


class TenantSource(Protocol):
    """Who may call."""

    async def tenant(self, digest: str) -> Tenant | None:
        """The tenant whose key has this SHA-256 (in hex), with the models that it may call; None for a key of nobody's.

        Asked once for each call, so that a key that is withdrawn is of no use from then on.
        """


class Tenants:
    """The keys of a configuration by digest. A key has 256 random bits, so its plain digest tells nothing of it."""

    def __init__(self, keys: Iterable[KeySettings], allow: Mapping[str, Collection[str]] | None = None) -> None:
        self._by_digest = {key.sha256: Tenant(key.id, tuple(key.models), allow or {}) for key in keys}

    @classmethod
    def configured(cls, configuration: Configuration) -> Tenants:
        """Those of a configuration, with what it allows for each model."""
        return cls(configuration.keys, {model.name: model.allow for model in configuration.models})

    async def tenant(self, digest: str) -> Tenant | None:
        """The tenant whose key has this digest."""
        return self._by_digest.get(digest)


async def tenant_of(authorization: str, tenants: TenantSource, key: str = "") -> Tenant:
    """The tenant whose key a request's Authorization header holds. Raises CallError where there is none.

    A ``key`` out of a header of its own goes first.
    """
    if not key:
        scheme, _, given = authorization.partition(" ")
        key = given if scheme.lower() == _SCHEME else ""
    tenant = await tenants.tenant(key_digest(key.strip())) if key else None
    if tenant is None:
        raise CallError(
            "Incorrect API key provided; send 'Authorization: Bearer KEY' with a key of this service.",
            openai_code="invalid_api_key",
        )
    return tenant


def is_operator(authorization: str, sha256: str) -> bool:
    """Whether an Authorization header holds the key of this digest."""
    scheme, _, key = authorization.partition(" ")
    return scheme.lower() == _SCHEME and hmac.compare_digest(key_digest(key.strip()), sha256)


def new_key() -> str:
    """A new key for a tenant."""
    return f"wk-{secrets.token_urlsafe(32)}"


def key_digest(key: str) -> str:
    """What the configuration keeps of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
