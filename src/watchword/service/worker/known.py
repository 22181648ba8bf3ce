"""The secrets of all releases, to look for them in tenants' files: each is unsealed once in a worker's life.

They are held in memory only. What a deleted model's seal held is forgotten with it. A seal that does not open hides its own
secret from the screening and no other one: jobs go on, and operators are told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from watchword.errors import SecretError
from watchword.files.addresses import Address
from watchword.secret.vault import unseal_known
from watchword.service.db import Database
from watchword.service.logs import log
from watchword.service.seals import Seals
from watchword.service.types.operator import SEAL_REPORT

# Seconds until a seal that did not open is tried again, and until one that still does not is reported again.
_AGAIN_SECONDS, _REMIND_SECONDS = 300.0, 86_400.0
# A key service that is away closes all of them; no more are named one by one.
_NAMED = 100


@dataclass(frozen=True)
class KnownSecrets:
    """What can be looked for, and the releases whose secrets cannot."""

    texts: tuple[str, ...] = field(default=(), repr=False)
    unseen: tuple[str, ...] = ()


@dataclass
class _Opened:
    """A seal as it was last looked at: its secret, or why there is none. Times are ``time.monotonic``'s."""

    stamp: object
    text: str | None = field(default=None, repr=False)
    why: str = ""
    looked: float = 0.0
    reported: float | None = None

    def holds(self, stamp: object, now: float) -> bool:
        return self.stamp == stamp and (not self.why or now < self.looked + _AGAIN_SECONDS)

    def due(self, now: float) -> bool:
        return bool(self.why) and (self.reported is None or now >= self.reported + _REMIND_SECONDS)


class KnownReleases:
    """What stands sealed below ``releases``, a folder or URL of releases. Threads may share it.

    ``report`` hears of each release whose seal does not open, and why: once, and then once a day.
    """

    def __init__(self, releases: Address, key: bytes, report: Callable[[Sequence[tuple[str, str]]], None]) -> None:
        self._seals, self._key, self._report = Seals(releases), key, report
        self._opened: dict[str, _Opened] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"KnownReleases({self._seals.place})"

    def secrets(self) -> KnownSecrets:
        """Those that are there now. Raises StoreError where nobody can tell which there are."""
        with self._lock:
            self._look()
            now = time.monotonic()
            due = {name: opened for name, opened in self._opened.items() if opened.due(now)}
            if due:
                self._report([(_shown(name), opened.why) for name, opened in due.items()])
            for opened in due.values():
                opened.reported = now
            found = list(self._opened.items())
        texts = dict.fromkeys(opened.text for _, opened in found if opened.text is not None)
        return KnownSecrets(tuple(texts), tuple(_shown(name) for name, opened in found if opened.why))

    def _look(self) -> None:
        found: dict[str, _Opened] = {}
        for name, stamp in self._seals.found().items():
            opened = self._looked_at(name, stamp, self._opened.get(name))
            if opened is not None:
                found[name] = opened
        self._opened = found

    def _looked_at(self, name: str, stamp: object, before: _Opened | None) -> _Opened | None:
        now = time.monotonic()
        if before is not None and before.holds(stamp, now):
            return before
        opened = _Opened(stamp, looked=now, reported=before.reported if before is not None and before.why else None)
        try:
            sealed = self._read(name)
            if sealed is None:
                return None
            opened.text = unseal_known(sealed, self._key).reveal()
        except SecretError as error:
            opened.why = error.problem
        return opened

    def _read(self, name: str) -> bytes | None:
        try:
            return self._seals.read(name)
        except SecretError:
            # Of a store that has gone away since it was listed, no seal is bad: that raises StoreError.
            self._seals.found()
            raise


def reporting(database: Database, worker: str) -> Callable[[Sequence[tuple[str, str]]], None]:
    """Tells operators of seals that do not open: a report for each, and one entry in the audit log for all."""

    def report(closed: Sequence[tuple[str, str]]) -> None:
        log.error({"event": "seals do not open", "releases": len(closed)})
        facts = {"releases": len(closed), "first": [name for name, _ in closed[:_NAMED]]}
        database.audit_append(worker, "release.seal_unreadable", facts=facts)
        for name, why in closed[:_NAMED]:
            database.add_report(SEAL_REPORT, "", name, {"why": why})

    return report


def _shown(name: str) -> str:
    """The model and the folder of its release."""
    return unquote(name.rpartition("/")[0])
