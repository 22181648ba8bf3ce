"""Rates with their uncertainty: Wilson's 95 % interval, for one run and over seeds.

Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927) 209-212. It
is used and not the textbook's p ± z·sqrt(p(1-p)/n), because the rates here are near 0 or 100 %, where that one collapses.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import msgspec

from watchword.errors import UsageError

LEVEL = 0.95
# Percent with four decimals: exact enough to recover the count for any n below a million, short enough to read.
DECIMALS = 4


def z_of(level: float = LEVEL) -> float:
    """The normal quantile of a two-sided interval: 1.95996 for 0.95. Raises UsageError outside (0, 1)."""
    if not 0 < level < 1:
        raise UsageError(f"the confidence level is {level}; it must lie between 0 and 1, as 0.95 does")
    return statistics.NormalDist().inv_cdf((1 + level) / 2)


Z = z_of()


def wilson(hits: int, n: int, *, z: float = Z) -> tuple[float, float]:
    """(low, high) in percent of Wilson's interval for ``hits`` of ``n``. Raises UsageError unless 0 <= hits <= n, n > 0."""
    if not 0 <= hits <= n or n == 0:
        raise UsageError(f"{hits} of {n} is no rate; it takes 0 <= hits <= n and n > 0")
    share, z2 = hits / n, z * z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # The ends are exactly 0 and 1 there; floating point would miss them by an ulp, or leave the range.
    low = 0.0 if hits == 0 else centre - half
    high = 1.0 if hits == n else centre + half
    return 100 * low, 100 * high


class Rate(msgspec.Struct, frozen=True):
    """``value`` with its interval [``low``, ``high``], in percent of the ``n`` scored answers; all null where n is 0.

    ``unscored`` answers are in neither n nor value: a judge could not tell, and that is not "safe".

    Where ``spread`` is set, this is no rate, but the mean of n scores in their own unit; ``spread`` is their standard deviation.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    unscored: int = 0
    spread: float | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def mean(cls, scores: Sequence[float], *, unscored: int = 0, level: float = LEVEL) -> Rate:
        """The mean of the scores, with the normal interval of a mean; one score alone is its own interval."""
        if not scores:
            return cls(None, None, None, 0, unscored)
        spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
        return cls._mean_of(statistics.fmean(scores), spread, len(scores), unscored, level)

    @classmethod
    def _mean_of(cls, value: float, spread: float, n: int, unscored: int, level: float) -> Rate:
        half = z_of(level) * spread / math.sqrt(n)
        low, high = round(value - half, DECIMALS), round(value + half, DECIMALS)
        return cls(round(value, DECIMALS), low, high, n, unscored, round(spread, DECIMALS))

    @classmethod
    def of(cls, hits: int, n: int, *, unscored: int = 0, level: float = LEVEL) -> Rate:
        """The rate of ``hits`` among ``n`` scored answers. Raises UsageError where the counts make no sense."""
        if unscored < 0:
            raise UsageError(f"{unscored} unscored answers; it must be at least 0")
        if hits == n == 0:
            return cls(None, None, None, 0, unscored)
        low, high = wilson(hits, n, z=z_of(level))
        return cls(round(100 * hits / n, DECIMALS), round(low, DECIMALS), round(high, DECIMALS), n, unscored)

    @property
    def is_mean(self) -> bool:
        """Whether this is the mean of scores, and no rate in percent."""
        return self.spread is not msgspec.UNSET

    @property
    def hits(self) -> int:
        """How many of the n scored answers counted; none of a mean."""
        return 0 if self.value is None or self.is_mean else round(self.value * self.n / 100)

    @property
    def asked(self) -> int:
        """How many answers there were, scored or not."""
        return self.n + self.unscored

    @property
    def scored(self) -> str:
        """``132``, or where some could not be scored ``129 of 132``."""
        return f"{self.n} of {self.asked}" if self.unscored else str(self.n)

    @property
    def coverage(self) -> float | None:
        """Percent of the answers that could be scored; None where there were none."""
        return 100 * self.n / self.asked if self.asked else None


def pooled(rates: Sequence[Rate], *, level: float = LEVEL) -> Rate:
    """One rate over all answers of all runs.

    The interval treats answers of different seeds to the same prompt as independent. So it is on the narrow side where
    prompts differ more than seeds do; show the seeds' own values beside it.
    """
    unscored = sum(rate.unscored for rate in rates)
    if any(rate.is_mean for rate in rates):
        return _pooled_means([rate for rate in rates if rate.n], unscored, level)
    hits, n = sum(rate.hits for rate in rates), sum(rate.n for rate in rates)
    return Rate.of(hits, n, unscored=unscored, level=level)


def _pooled_means(rates: Sequence[Rate], unscored: int, level: float) -> Rate:
    """The mean of all scores: as if they had been measured in one run."""
    if not rates:
        return Rate(None, None, None, 0, unscored)
    n = sum(rate.n for rate in rates)
    value = sum(rate.n * (rate.value or 0.0) for rate in rates) / n
    within = sum((rate.n - 1) * float(rate.spread or 0.0) ** 2 for rate in rates)
    between = sum(rate.n * ((rate.value or 0.0) - value) ** 2 for rate in rates)
    spread = math.sqrt((within + between) / (n - 1)) if n > 1 else 0.0
    return Rate._mean_of(value, spread, n, unscored, level)
