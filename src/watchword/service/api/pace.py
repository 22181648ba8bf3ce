"""How often a key may call. The database counts, for all processes; a few calls are taken from it at a time.

So most calls write nothing, and a key still has one allowance however many processes there are.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from watchword.service.types.tenants import Principal

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
        # Those who take for a key, one at a time: calls that come together share what is taken.
        self._taking: dict[str, asyncio.Lock] = {}

    async def take(self, principal: Principal) -> None:
        """Counts one call. Raises QuotaError once the key has made too many."""
        if self._took(principal.key_id):
            return
        lock = self._taking.setdefault(principal.key_id, asyncio.Lock())
        try:
            async with lock:
                if not self._took(principal.key_id):
                    await self._take_more(principal)
        finally:
            if not lock.locked() and self._taking.get(principal.key_id) is lock:
                del self._taking[principal.key_id]

    def _took(self, key_id: str) -> bool:
        """Counts one call among those that were taken; False where none is left."""
        left, until = self._left.get(key_id, (0, 0.0))
        if left < 1 or until < self._clock():
            return False
        self._keep(key_id, left - 1, until)
        return True

    async def _take_more(self, principal: Principal) -> None:
        """Takes some calls, and counts one of them."""
        taken = max(1, int(self._per_minute(principal.tenant) * _TAKEN_SECONDS / 60))
        await asyncio.to_thread(self._spend, principal, float(taken))
        self._keep(principal.key_id, taken - 1, self._clock() + _KEPT_SECONDS)

    def _keep(self, key_id: str, left: int, until: float) -> None:
        self._left[key_id] = (left, until)
        self._left.move_to_end(key_id)
        if len(self._left) > _MOST_KEYS:
            self._left.popitem(last=False)
