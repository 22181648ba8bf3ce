"""Rates with their uncertainty."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import msgspec

from watchword.errors import UsageError

# Two-sided 95 % of the normal distribution.
Z95 = 1.959963984540054


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A share in percent with its 95 % Wilson interval; ``n`` answers were scored, ``unscored`` were not.

    ``value``, ``low`` and ``high`` are None where nothing was scored.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    unscored: int = 0

    @classmethod
    def of(cls, hits: int, n: int, *, unscored: int = 0) -> Rate:
        """From counts. Raises UsageError for counts that cannot be."""
        if not 0 <= hits <= n or unscored < 0:
            raise UsageError(f"{hits} of {n} with {unscored} unscored is no rate; give 0 <= hits <= n")
        if n == 0:
            return cls(None, None, None, 0, unscored)
        low, high = wilson(hits, n)
        return cls(*(round(100 * part, 2) for part in (hits / n, low, high)), n, unscored)

    @property
    def hits(self) -> int:
        """How many of the ``n`` answers were hits."""
        return 0 if self.value is None else round(self.value * self.n / 100)


def wilson(hits: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson score interval of a share, as fractions (Wilson, JASA 22, 1927).

    Unlike the plain normal interval it stays inside 0 to 1 and is honest at 0 and 1.
    """
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the ends rounding would leave the share itself a hair outside.
    return (0.0 if hits == 0 else middle - half), (1.0 if hits == n else middle + half)


def pooled(rates: Sequence[Rate]) -> Rate:
    """All answers of several cells together: mean over seeds of equal size, and an interval over all answers.

    The interval takes answers as independent. Seeds that differ more than that shows in ``spread``.
    """
    return Rate.of(
        sum(rate.hits for rate in rates),
        sum(rate.n for rate in rates),
        unscored=sum(rate.unscored for rate in rates),
    )


def spread(rates: Sequence[Rate]) -> tuple[float, float] | None:
    """Smallest and largest value among the seeds, in percent; None where nothing was scored."""
    values = [rate.value for rate in rates if rate.value is not None]
    return (min(values), max(values)) if values else None


def mean(values: Sequence[float]) -> float | None:
    """Arithmetic mean; None of nothing."""
    return statistics.fmean(values) if values else None
