"""Trying again: rate limits, failing servers and lost connections are ordinary on the way to somebody else's API.

A call that may have arrived although no answer came is not simply sent again: ``found`` looks for its result first. So no
job is created twice.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from watchword.errors import RemoteError
from watchword.models.remote_calls import RefusedCallError

T = TypeVar("T")


def nothing() -> None:
    """There is no way to look for the result of an earlier call."""
    return


@dataclass(frozen=True)
class Patience:
    """How long to go on. Waits double from ``first`` to ``most`` seconds, unless the API names a time; ``tries`` are all.

    ``look`` is the time between two looks at a job.
    """

    tries: int = 12
    first: float = 1.0
    most: float = 60.0
    look: float = 5.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def result(self, call: Callable[[], T], found: Callable[[], T | None] = nothing) -> T:
        """What ``call`` gives, or ``found`` where an earlier call got through unheard.

        Raises RefusedCallError for an answer that will not change, and RemoteError once patience is at an end.
        """
        for attempt in range(self.tries):
            try:
                if attempt and (earlier := found()) is not None:
                    return earlier
                return call()
            except RefusedCallError as error:
                if not error.again:
                    raise
                last = error
            self.sleep(self._wait(attempt, last.retry_after))
        raise RemoteError(f"{last.problem}; {self.tries} tries in all. The run can be resumed") from last

    def _wait(self, attempt: int, named: float | None) -> float:
        # Longer than any limit on calls lasts, an API is not waited for at once.
        if named is not None:
            return min(named, 2 * self.most)
        # Not all clients of a server that was away come back at the same moment.
        longest = min(self.most, self.first * float(2**attempt))
        return longest * random.uniform(0.5, 1.0)
