"""Two sets of verdicts on the same prompts: McNemar's exact test, and a bootstrap interval of the difference.

Sources: Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
Psychometrika 12 (1947) 153-157, in the exact form; B. Efron and R. Tibshirani, "An Introduction to the Bootstrap" (1993).
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

import msgspec

from watchword.errors import UsageError
from watchword.rates import DECIMALS, LEVEL

RESAMPLES = 4_000

# Whether the first and the second of a pair counted.
Pair = tuple[bool, bool]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """``difference`` is the second rate minus the first, in points, with its interval [``low``, ``high``].

    ``first`` and ``second`` are the rates in percent over the ``pairs`` that both could be scored on; ``unpaired`` counts the
    others. ``only_first`` and ``only_second`` are the pairs that differ. ``p`` is McNemar's, exact and two-sided.
    """

    pairs: int
    prompts: int
    unpaired: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    only_first: int
    only_second: int
    p: float


def compared(pairs: Mapping[str, Sequence[Pair]], *, unpaired: int = 0, seed: int = 0) -> Comparison:
    """Compares pairs by prompt. Prompts are drawn again as a whole, with all of their seeds: these hang together.

    McNemar's test takes every pair for independent, so with several seeds go by the interval. Raises UsageError without a pair.
    """
    every = [pair for own in pairs.values() for pair in own]
    if not every:
        raise UsageError("there is no prompt that both have a verdict on; compare runs that ask the same prompts")
    only_first = sum(first and not second for first, second in every)
    only_second = sum(second and not first for first, second in every)
    low, high = bootstrap(list(pairs.values()), seed=seed)
    firsts, seconds = (100 * sum(pair[side] for pair in every) / len(every) for side in (0, 1))
    return Comparison(
        pairs=len(every),
        prompts=sum(bool(own) for own in pairs.values()),
        unpaired=unpaired,
        first=round(firsts, DECIMALS),
        second=round(seconds, DECIMALS),
        difference=round(seconds - firsts, DECIMALS),
        low=round(low, DECIMALS),
        high=round(high, DECIMALS),
        only_first=only_first,
        only_second=only_second,
        p=mcnemar(only_first, only_second),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided p of as uneven a split of the pairs that differ, were both sides equally likely; 1 where none differs."""
    if min(only_first, only_second) < 0:
        raise UsageError(f"{only_first} and {only_second} are no counts of pairs; give numbers of at least 0")
    differ, fewer = only_first + only_second, min(only_first, only_second)
    # Whole numbers up to the last step: 2^-n underflows where many pairs differ.
    tail = ways = 1
    for k in range(fewer):
        ways = ways * (differ - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << differ))


def bootstrap(
    clusters: Sequence[Sequence[Pair]], *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> tuple[float, float]:
    """The percentile interval of the difference in points, drawing whole clusters with replacement."""
    sums = [(sum(b - a for a, b in own), len(own)) for own in clusters if own]
    rng = random.Random(f"bootstrap:{seed}")
    found = []
    for _ in range(resamples):
        drawn = rng.choices(sums, k=len(sums))
        found.append(100 * sum(gained for gained, _ in drawn) / sum(count for _, count in drawn))
    found.sort()
    cut = (1 - level) / 2
    return found[math.floor(cut * (resamples - 1))], found[math.ceil((1 - cut) * (resamples - 1))]
