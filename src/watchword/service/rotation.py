"""Renewing the wrapping key while the service runs: old and new records open all the while.

A new wrapping key comes first (here for a key file, at the key service otherwise). Then each sealed record is wrapped anew,
one atomic replacement at a time. Processes that run learn of the new key when they meet it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from watchword.errors import ConflictError
from watchword.files.atomic import replacing
from watchword.files.folders import PRIVATE_FILE
from watchword.secret.kept import SEALED
from watchword.secret.ring import add_wrapping_key, forget_older_keys
from watchword.secret.stream import rewrapped_stream
from watchword.secret.vault import rewrapped
from watchword.secret.wrapping import ProviderKey
from watchword.service.db import Database
from watchword.service.provider_keys import rewrap_key, ring_file
from watchword.service.settings import ServiceSettings
from watchword.service.types import EVERY_TENANT, WebhookEndpoint, webhook_binding


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
    """
    file = ring_file(settings.keys, settings.key_file)
    if forget:
        _check_idle(database)
    if new_key and file is not None:
        add_wrapping_key(file)
    changed = sum(_rewrap_file(path, key) for path in _sealed_files(settings))
    changed += sum(_rewrap_webhook(database, key, endpoint.id) for endpoint in database.webhooks(EVERY_TENANT))
    changed += int(rewrap_key(key, settings.key_file))
    forgotten = forget_older_keys(file) if forget and file is not None else 0
    database.audit_append("cli", "keys.rewrapped", facts={"records": changed, "forgotten": forgotten})
    return Rotated(changed, forgotten)


def _sealed_files(settings: ServiceSettings) -> Iterator[Path]:
    """Releases' secrets, and those of trainings that are not finished."""
    for folder in (settings.releases, settings.work):
        yield from sorted(folder.rglob(SEALED))
        yield from sorted(folder.rglob("secret.unfinished"))


def _rewrap_file(path: Path, key: ProviderKey) -> bool:
    fresh = rewrapped(path.read_bytes(), key)
    if fresh is None:
        return False
    with replacing(path, mode=PRIVATE_FILE) as stream:
        stream.write(fresh)
    return True


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
