"""Turns at something that one can do at a time: tenants share it by their weights, as they share the workers."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from watchword.service.jobs.fairness import turn_after, turn_on_return


@dataclass
class _Waiting:
    """One tenant's place: its virtual time, and who waits for it, each with what a turn costs."""

    turn: float
    queue: deque[tuple[asyncio.Future[None], float]] = field(default_factory=deque)


class FairTurns:
    """Used on one event loop. ``weight_of`` is a tenant's share beside the others'."""

    def __init__(self, weight_of: Callable[[str], float]) -> None:
        self._weight_of = weight_of
        self._tenants: dict[str, _Waiting] = {}
        self._taken, self._latest = False, 0.0

    @contextlib.asynccontextmanager
    async def turn(self, tenant: str, cost: float) -> AsyncIterator[None]:
        """Waits for a turn, which lasts until the block ends. ``cost`` is how much of the tenant's share it takes."""
        place = self._tenants.setdefault(tenant, _Waiting(self._latest))
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not place.queue:
            place.turn = turn_on_return(place.turn, self._latest)
        place.queue.append((granted, cost))
        self._go_on()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.cancelled():
                place.queue = deque(waiting for waiting in place.queue if waiting[0] is not granted)
            else:
                self._end()
            raise
        try:
            yield
        finally:
            self._end()

    def _end(self) -> None:
        self._taken = False
        self._go_on()

    def _go_on(self) -> None:
        """Gives the turn to the tenant whose virtual time is least, unless somebody has it."""
        for place in self._tenants.values():
            # Cancelled, and not yet told of it.
            while place.queue and place.queue[0][0].cancelled():
                place.queue.popleft()
        waiting = [(place.turn, name) for name, place in self._tenants.items() if place.queue]
        if self._taken or not waiting:
            return
        self._taken = True
        self._latest, name = min(waiting)
        place = self._tenants[name]
        granted, cost = place.queue.popleft()
        place.turn = turn_after(place.turn, self._weight_of(name) / cost)
        # Nobody is remembered who has nothing to wait for and owes nothing.
        self._tenants = {
            name: place for name, place in self._tenants.items() if place.queue or place.turn > self._latest
        }
        granted.set_result(None)
