"""How a release goes for good that no model has any more: from where it is kept, from this machine, and from the engine."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from watchword.errors import WatchwordError
from watchword.files.addresses import Address
from watchword.release.engine import weights_name
from watchword.service.copies import Copies
from watchword.service.db import Database
from watchword.service.logs import log
from watchword.service.settings import ServiceSettings
from watchword.service.strays import sweep_strays
from watchword.service.types.models import RetiredRelease
from watchword.service.worker.publishing import retract

# By then every API process has seen that the model has another release.
GRACE_SECONDS = 10.0
# The most that one round takes, and how often a store is searched for what crashes have left there.
_ROUND_SECONDS, _SWEEP_SECONDS = 60.0, 86_400.0


@dataclass
class Removal:
    """Removes what was retired. ``unload`` has the engine forget an adapter, and says whether it has.

    Every API process has one. It also removes this machine's copies of what others have removed.
    """

    settings: ServiceSettings
    database: Database
    unload: Callable[[str], Awaitable[bool]]
    _last: int = field(default=0, init=False)
    _swept: float = field(default=0.0, init=False)
    _unused: dict[Path, float] = field(default_factory=dict, init=False)

    async def of_all(self, *, grace: float = GRACE_SECONDS) -> None:
        """Whatever was retired so many seconds ago. What does not go yet is left to the next time."""
        await self._of_retired(time.time() - grace)
        await self._of_copies(grace)
        if time.time() - self._swept > _SWEEP_SECONDS:
            await self._of_strays()

    async def of(self, retired: RetiredRelease) -> None:
        """One of them."""
        only = await asyncio.to_thread(self.from_disk, retired)
        if not only or await self.unload(weights_name(retired.weights_digest)):
            await asyncio.to_thread(self.database.forget_retired, retired.number)

    async def tried(self, retired: RetiredRelease) -> None:
        """The same, where somebody comes again: what fails is logged and stays on the list."""
        try:
            await self.of(retired)
        except (WatchwordError, OSError) as error:
            log.error({"event": "release is not removed", "kind": type(error).__name__})

    def from_disk(self, retired: RetiredRelease) -> bool:
        """Removes the release, and the engine's copy of its weights unless another model has them too. Says whether none has.

        Raises OutputError for a store that is away.
        """
        if not self.database.in_use(location=retired.location):
            Copies(self.settings.fetched).forget(retired.location)
            retract(Address.parse(retired.location))
        if self.database.in_use(weights=retired.weights_digest):
            return False
        # First: a request that is late must not have them loaded again.
        self._forget_adapter(retired.weights_digest)
        return True

    async def _of_retired(self, late: float) -> None:
        """A round begins behind the one that the last has come to, so that none that stays keeps the others waiting."""
        until, begun = time.monotonic() + _ROUND_SECONDS, self._last
        for after, last in ((begun, None), (0, begun)):
            self._last = after
            while found := await asyncio.to_thread(self._retired, late, last):
                for retired in found:
                    self._last = retired.number
                    await self.tried(retired)
                    if time.monotonic() > until:
                        return
        self._last = 0

    def _retired(self, late: float, last: int | None) -> list[RetiredRelease]:
        return self.database.retired_releases(older_than=late, after=self._last, last=last)

    async def _of_copies(self, grace: float) -> None:
        """Copies on this machine of releases that no model has any more, once other requests have had their time."""
        weights = await asyncio.to_thread(Copies(self.settings.fetched).weights)
        used = await asyncio.to_thread(self.database.used_weights, set(weights.values()))
        now = time.monotonic()
        self._unused = {copy: self._unused.get(copy, now) for copy, digest in weights.items() if digest not in used}
        for copy in sorted(self._unused, key=self._unused.__getitem__):
            if now - self._unused[copy] < grace:
                break
            if not await self._copy_gone(copy, weights[copy]):
                # Behind the others, so that one that stays keeps none waiting.
                self._unused[copy] = time.monotonic()
            if time.monotonic() > now + _ROUND_SECONDS:
                break

    async def _copy_gone(self, copy: Path, digest: str) -> bool:
        if digest:
            self._forget_adapter(digest)
            if not await self.unload(weights_name(digest)):
                return False
        shutil.rmtree(copy, ignore_errors=True)
        return True

    async def _of_strays(self) -> None:
        begun = time.time()
        try:
            # A day old, so that no release that is being published is among them.
            old = begun - _SWEEP_SECONDS
            await asyncio.to_thread(sweep_strays, self.settings.release_place, self.database, old)
            self._swept = begun
        except WatchwordError as error:
            log.error({"event": "releases cannot be swept", "kind": type(error).__name__})

    def _forget_adapter(self, digest: str) -> None:
        shutil.rmtree(self.settings.adapters / weights_name(digest), ignore_errors=True)
