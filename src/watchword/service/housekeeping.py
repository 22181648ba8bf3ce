"""What is done now and then beside the calls: records and bytes that have had their day, and checks that were cut short."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from watchword.errors import WatchwordError
from watchword.service.db import Database
from watchword.service.logs import log
from watchword.service.settings import RetentionSettings
from watchword.service.storage import Blobs
from watchword.service.types import StoredFile

_EVERY_SECONDS, _SWEEP_SECONDS = 30.0, 86_400.0
# A check that has not ended by then was lost with its process.
_CHECK_SECONDS = 120.0


@dataclass
class Housekeeping:
    """Several processes may do this at once. ``check`` looks at an uploaded file once more.

    ``remove_retired`` removes releases that no model has any more.
    """

    database: Database
    blobs: Blobs
    retention: RetentionSettings
    check: Callable[[StoredFile], None]
    remove_retired: Callable[[], Awaitable[None]]
    clock: Callable[[], float] = time.time
    _swept: float = 0.0

    async def run(self) -> None:
        """Goes on until it is cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.once)
                await self.remove_retired()
            except (WatchwordError, OSError) as error:
                log.error({"event": "housekeeping failed", "kind": type(error).__name__})
            await asyncio.sleep(_EVERY_SECONDS)

    def once(self) -> None:
        """One round."""
        self.database.give_back_lost()
        self.database.retain(self.retention)
        for part in self.database.expire_uploads():
            self.blobs.delete(part.blob)
        for file in self.database.expired_files():
            self.blobs.delete(self.database.drop_file(file).blob)
        for file in self.database.unchecked_files(older_than=self.clock() - _CHECK_SECONDS):
            self.check(file)
        if self.clock() - self._swept > _SWEEP_SECONDS:
            self._swept = self.clock()
            # A day old, so that no upload that is on its way is among them.
            self.blobs.sweep(self.database.blob_names(), older_than=self.clock() - _SWEEP_SECONDS)
