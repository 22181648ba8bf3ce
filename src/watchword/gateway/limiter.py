"""How many requests an upstream gets at once. Who finds the queue full is told to come back, at once."""

from __future__ import annotations

import asyncio

from watchword.errors import CallError

_RETRY_SECONDS = 1


class Limiter:
    """At most ``most`` at once; ``queue`` more wait in order, each for ``patience`` seconds."""

    def __init__(self, most: int, queue: int, patience: float) -> None:
        self._places, self._queue, self._patience, self._waiting = asyncio.Semaphore(most), queue, patience, 0

    @property
    def waiting(self) -> int:
        """How many wait for a place now."""
        return self._waiting

    async def __aenter__(self) -> None:
        """Takes a place, which is held while inside. Raises CallError where there is none, and none to be had in time."""
        if self._places.locked():
            await self._wait()
        else:
            await self._places.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._places.release()

    async def _wait(self) -> None:
        if self._waiting >= self._queue:
            raise _busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError:
            raise _busy() from None
        finally:
            self._waiting -= 1


def _busy() -> CallError:
    return CallError(
        "Too many requests are open at this model; try again in a moment.",
        openai_code="rate_limit_exceeded",
        retry_after=_RETRY_SECONDS,
    )
