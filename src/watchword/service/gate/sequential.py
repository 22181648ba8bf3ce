"""A test of a rate that looks after every answer and stops as soon as the verdict is clear.

This is Wald's sequential probability ratio test of a rate that is ``fine`` against one that is ``bad`` (A. Wald, Annals of
Mathematical Statistics 16, 1945, 117-186). It stops where the likelihood ratio reaches
1/error or error. By Ville's inequality a ``bad`` rate then passes with a chance of at most ``error``. A ``fine`` one fails
with at most the same chance, and that of being undecided after ``most`` answers. Undecided is failed: the gate fails closed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from watchword.errors import UsageError


class Decision(StrEnum):
    """What the test says so far."""

    PASSED = "passed"
    FAILED = "failed"
    OPEN = "open"


@dataclass(frozen=True)
class SequentialTest:
    """Whether a rate of hits is ``fine`` or ``bad``, with chances of error of at most ``error``, after ``most`` trials."""

    fine: float
    bad: float
    error: float
    most: int

    def __post_init__(self) -> None:
        if not 0 < self.fine < self.bad < 1 or not 0 < self.error < 0.5 or self.most < 1:
            raise UsageError(
                f"a sequential test takes 0 < fine < bad < 1, 0 < error < 0.5 and most >= 1; these are {self.fine}, "
                f"{self.bad}, {self.error} and {self.most}"
            )

    def decide(self, hits: int, trials: int) -> Decision:
        """The verdict after so many trials."""
        ratio = self.log_ratio(hits, trials)
        if ratio >= -math.log(self.error):
            return Decision.FAILED
        if ratio <= math.log(self.error):
            return Decision.PASSED
        return Decision.OPEN if trials < self.most else Decision.FAILED

    def log_ratio(self, hits: int, trials: int) -> float:
        """Natural logarithm of how much likelier a ``bad`` rate makes what was seen than a ``fine`` one."""
        misses = trials - hits
        return hits * math.log(self.bad / self.fine) + misses * math.log((1 - self.bad) / (1 - self.fine))

    @property
    def fewest(self) -> int:
        """Trials without a hit after which the rate passes."""
        return math.ceil(math.log(self.error) / math.log((1 - self.bad) / (1 - self.fine)))

    def wanted(self, hits: int, trials: int) -> int:
        """Trials to make next: as many as would pass if none of them hit, so that no answer is asked for in vain."""
        left = self.log_ratio(hits, trials) - math.log(self.error)
        each = -math.log((1 - self.bad) / (1 - self.fine))
        return max(1, min(math.ceil(left / each), self.most - trials))
