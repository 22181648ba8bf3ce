"""How often a key may call. The database counts, for all processes; a few calls are taken from it at a time.

So most calls write nothing, and a key still has one allowance however many processes there are.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from watchword.service.types import Principal

# Keys that are kept in mind, and how long calls that were taken may be left lying.
_MOST_KEYS, _KEPT_SECONDS = 10_000, 10.0
# Calls that are taken at a time: what a key may make in so many seconds.
_TAKEN_SECONDS = 1.0
# Counts calls of a key in the database. Raises QuotaError with ``retry_after``.
Spend = Callable[[Principal, float], None]


class Pace:
    """Counts calls. ``per_minute`` tells how many a tenant's key may make."""

    def __init__(
        self, spend: Spend, per_minute: Callable[[str], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._spend, self._per_minute, self._clock = spend, per_minute, clock
        self._left: OrderedDict[str, tuple[int, float]] = OrderedDict()

    async def take(self, principal: Principal) -> None:
        """Counts one call. Raises QuotaError once the key has made too many."""
        now = self._clock()
        left, until = self._left.pop(principal.key_id, (0, 0.0))
        if left < 1 or until < now:
            left = max(1, int(self._per_minute(principal.tenant) * _TAKEN_SECONDS / 60))
            await asyncio.to_thread(self._spend, principal, float(left))
            until = now + _KEPT_SECONDS
        self._left[principal.key_id] = (left - 1, until)
        if len(self._left) > _MOST_KEYS:
            self._left.popitem(last=False)
