"""Tenants' keys: drawn here, kept as digests only, and what each may call."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from watchword.chat.fault import shown
from watchword.errors import CallError
from watchword.gateway.configuration import KeySettings

_SCHEME = "bearer"


@dataclass(frozen=True)
class Tenant:
    """Who calls: ``id`` is safe to log, ``models`` are those that the key may call, in the order of the configuration."""

    id: str
    models: tuple[str, ...]

    def check_may_call(self, model: str) -> None:
        """Raises CallError for a model that is not this tenant's. One that exists elsewhere is answered like none."""
        if model not in self.models:
            raise CallError(
                f"The model {shown(model)} does not exist or you do not have access to it.",
                openai_code="model_not_found",
                param="model",
            )


class Tenants:
    """All keys by digest. A key has 256 random bits, so its plain digest tells nothing of it."""

    def __init__(self, keys: Iterable[KeySettings]) -> None:
        self._by_digest = {key.sha256: Tenant(key.id, tuple(key.models)) for key in keys}

    def of(self, authorization: str, key: str = "") -> Tenant:
        """The tenant whose key a request's Authorization header holds. Raises CallError where there is none.

        A ``key`` of a header of its own goes first.
        """
        if not key:
            scheme, _, given = authorization.partition(" ")
            key = given if scheme.lower() == _SCHEME else ""
        tenant = self._by_digest.get(key_digest(key.strip()))
        if tenant is None:
            raise CallError(
                "Incorrect API key provided; send 'Authorization: Bearer KEY' with a key of this service.",
                openai_code="invalid_api_key",
            )
        return tenant


def new_key() -> str:
    """A new key for a tenant."""
    return f"wk-{secrets.token_urlsafe(32)}"


def key_digest(key: str) -> str:
    """What the configuration keeps of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
