"""Slowing down a key whose answers leak, again and again: a bucket of tokens for each key that has ever made a leak.

A bucket holds ``leaks`` tokens and fills up in ``minutes``. Each answer with a leak takes one. While a bucket holds less than
one, the key's requests are refused, with the time until it does. So a key that leaks by accident goes on undisturbed, and one
that tries gets ``leaks`` hits, and from then on one every ``minutes / leaks``.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from watchword.errors import CallError

# Keys that are remembered; the one that has been quiet longest gives way.
_KEPT = 100_000


@dataclass
class _Bucket:
    level: float
    filled: float


class LeakBrake:
    """The buckets. ``clock`` gives seconds."""

    def __init__(self, leaks: int, minutes: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._seconds, self._clock = leaks, 60 * minutes / leaks, clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def check(self, key: str) -> None:
        """Raises CallError for a key that has to wait."""
        if key not in self._buckets:
            return
        level = self._filled(key).level
        if level >= self._most:
            del self._buckets[key]
        elif level < 1:
            raise CallError(
                "Too many answers to this key had to be withheld; requests are limited for a while.",
                openai_code="rate_limit_exceeded",
                retry_after=max(1, math.ceil((1 - level) * self._seconds)),
            )

    def leaked(self, key: str) -> None:
        """Counts an answer with a leak."""
        bucket = self._filled(key)
        # Answers that were on their way at once do not add up to a wait without end.
        bucket.level = max(0.0, bucket.level - 1)
        if len(self._buckets) > _KEPT:
            self._buckets.popitem(last=False)

    def __len__(self) -> int:
        return len(self._buckets)

    def _filled(self, key: str) -> _Bucket:
        """The key's bucket as it is now."""
        now = self._clock()
        bucket = self._buckets.setdefault(key, _Bucket(float(self._most), now))
        bucket.level = min(float(self._most), bucket.level + (now - bucket.filled) / self._seconds)
        bucket.filled = now
        self._buckets.move_to_end(key)
        return bucket
