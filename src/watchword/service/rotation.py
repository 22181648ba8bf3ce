"""Renewing the wrapping key while the service runs: old and new records open all the while.

A new wrapping key comes first (here for a key file, at the key service otherwise). Then each sealed record is wrapped anew,
one atomic replacement at a time. Processes that run learn of the new key when they meet it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

from watchword.errors import ConflictError, SecretError, UnsealError
from watchword.files.addresses import Address
from watchword.secret.kept import SEALED
from watchword.secret.ring import add_wrapping_key, forget_older_keys
from watchword.secret.stream import rewrapped_stream
from watchword.secret.vault import rewrapped
from watchword.secret.wrapping import ProviderKey
from watchword.service.db import Database
from watchword.service.provider_keys import rewrap_key, ring_file
from watchword.service.seals import Seals
from watchword.service.settings import ServiceSettings
from watchword.service.types.operator import WebhookEndpoint, webhook_binding
from watchword.service.types.tenants import EVERY_TENANT

# What a training keeps its secret in until it has ended.
_UNFINISHED = "secret.unfinished"


@dataclass(frozen=True)
class Rotated:
    """What was done: records that were wrapped anew, and older keys that were forgotten."""

    records: int
    forgotten: int = 0


def rotate_wrapping(
    settings: ServiceSettings, database: Database, key: ProviderKey, *, new_key: bool = True, forget: bool = False
) -> Rotated:
    """Wraps every sealed record under the newest wrapping key. May be run again at any time, and after a crash.

    ``new_key`` first draws one, where a key file keeps them. ``forget`` then removes the older ones from the file. Raises
    ConflictError for that while jobs are unfinished, since these have sealed data of their own; nothing is done then.
    A record that does not open keeps no other from being wrapped anew. It is told of at the end by an UnsealError, and no
    older key is forgotten then: it may be what its restored copy needs.
    """
    file = ring_file(settings.keys, settings.key_file)
    if forget:
        _check_idle(database)
    if new_key and file is not None:
        add_wrapping_key(file)
    done = _Records()
    for seals in (Seals(settings.release_place), Seals(Address(settings.work), (SEALED, _UNFINISHED))):
        _rewrap_seals(seals, key, done)
    for endpoint in database.webhooks(EVERY_TENANT):
        done.take(endpoint.id, functools.partial(_rewrap_webhook, database, key, endpoint.id))
    changed = done.changed + int(rewrap_key(key, settings.key_file))
    forgotten = forget_older_keys(file) if forget and file is not None and not done.closed else 0
    facts = {"records": changed, "forgotten": forgotten, "closed": len(done.closed)}
    database.audit_append("cli", "keys.rewrapped", facts=facts)
    done.check(changed)
    return Rotated(changed, forgotten)


@dataclass
class _Records:
    """How many records were wrapped anew, and which do not open, with the reasons."""

    changed: int = 0
    closed: dict[str, str] = field(default_factory=dict)

    def take(self, name: str, rewrap: Callable[[], bool]) -> None:
        """One more of them."""
        try:
            self.changed += int(rewrap())
        except SecretError as error:
            self.closed[name] = error.problem

    def check(self, changed: int) -> None:
        """Raises UnsealError where one does not open."""
        for name, why in self.closed.items():
            raise UnsealError(
                f"{changed} records were wrapped anew, and {len(self.closed)} do not open; the older keys are kept. Restore "
                f"these from a backup, or delete their models, and run this again. The first: {why}",
                path=name,
            )


def _rewrap_seals(seals: Seals, key: ProviderKey, done: _Records) -> None:
    """Releases' secrets, and those of trainings that are not finished."""

    def rewrap(name: str) -> bool:
        sealed = seals.read(name)
        fresh = None if sealed is None else rewrapped(sealed, key)
        if fresh is not None:
            seals.replace(name, fresh)
        return fresh is not None

    for name in seals.found():
        done.take(str(seals.place.below(name)), functools.partial(rewrap, name))


def _rewrap_webhook(database: Database, key: ProviderKey, endpoint_id: str) -> bool:
    def wrapped_anew(endpoint: WebhookEndpoint) -> bytes | None:
        return rewrapped_stream(endpoint.sealed_secret, key.wrapping, webhook_binding(endpoint.tenant))

    return database.reseal_webhook(endpoint_id, wrapped_anew)


def _check_idle(database: Database) -> None:
    """Paused jobs count: their sealed rows are to be trained on later."""
    for tenant, count in database.unfinished().items():
        raise ConflictError(
            f"the tenant {tenant} has {count} unfinished jobs, which have data sealed under older keys; wait until they "
            "have ended (paused ones must be resumed or cancelled), or leave the older keys"
        )
