"""How a release goes for good that no model has any more: from the disk, and from the engine's memory."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from watchword.files.addresses import Address
from watchword.release.engine import weights_name
from watchword.service.db import Database
from watchword.service.settings import ServiceSettings
from watchword.service.types import RetiredRelease
from watchword.service.worker.publishing import retract

# By then every API process has seen that the model has another release.
GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class Removal:
    """Removes what was retired. ``unload`` has the engine forget an adapter, and says whether it has."""

    settings: ServiceSettings
    database: Database
    unload: Callable[[str], Awaitable[bool]]

    async def of_all(self, *, grace: float = GRACE_SECONDS) -> None:
        """Whatever was retired so many seconds ago. What an engine does not let go yet is left to the next time."""
        late = time.time() - grace
        for retired in await asyncio.to_thread(self.database.retired_releases, older_than=late):
            await self.of(retired)

    async def of(self, retired: RetiredRelease) -> None:
        """One of them."""
        only = await asyncio.to_thread(self.from_disk, retired)
        if not only or await self.unload(weights_name(retired.weights_digest)):
            await asyncio.to_thread(self.database.forget_retired, retired.number)

    def from_disk(self, retired: RetiredRelease) -> bool:
        """Removes the release, and the engine's copy of its weights unless another model has them too. Says whether none has."""
        if not self.database.in_use(location=retired.location):
            retract(Address.parse(retired.location))
        if self.database.in_use(weights=retired.weights_digest):
            return False
        # First: a request that is late must not have them loaded again.
        shutil.rmtree(self.settings.adapters / weights_name(retired.weights_digest), ignore_errors=True)
        return True
