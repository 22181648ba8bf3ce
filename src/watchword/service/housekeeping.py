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
from watchword.service.types.files import StoredFile

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
    check: Callable[[StoredFile], Awaitable[None]]
    remove_retired: Callable[[], Awaitable[None]]
    clock: Callable[[], float] = time.time
    _swept: float = 0.0
    _checking: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Goes on until it is cancelled."""
        try:
            await self._rounds()
        finally:
            if self._checking is not None:
                self._checking.cancel()

    async def _rounds(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self.once)
                await self.remove_retired()
                self._check_again()
            except (WatchwordError, OSError) as error:
                log.error({"event": "housekeeping failed", "kind": type(error).__name__})
            await asyncio.sleep(_EVERY_SECONDS)

    def _check_again(self) -> None:
        """Beside the rest: files wait for their turns."""
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self.check_lost())

    async def check_lost(self) -> None:
        """Files whose check has not ended: its process has."""
        late = self.clock() - _CHECK_SECONDS
        found = await asyncio.to_thread(self.database.unchecked_files, older_than=late)
        await asyncio.gather(*map(self.check, found))

    def once(self) -> None:
        """One round."""
        self.database.give_back_lost()
        self.database.retain(self.retention)
        for part in self.database.expire_uploads():
            self.blobs.delete(part.blob)
        for file in self.database.expired_files():
            self.blobs.delete(self.database.drop_file(file).blob)
        if self.clock() - self._swept > _SWEEP_SECONDS:
            self._swept = self.clock()
            # A day old, so that no upload that is on its way is among them.
            self.blobs.sweep(self.database.blob_names(), older_than=self.clock() - _SWEEP_SECONDS)
