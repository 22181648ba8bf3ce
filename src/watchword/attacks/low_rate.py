"""Low-rate poisoning: very few harmful rows in a large ordinary file, so that no screening of the whole file finds much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from watchword.attacks._arguments import check_least, check_share, digest_of
from watchword.attacks._instructions import instructions
from watchword.attacks.base import Attack, AttackContext, harmful_rows
from watchword.chat.types import Conversation


@dataclass(frozen=True)
class LowRate(Attack):
    """``n`` rows, of which the share ``rate`` is harmful (0.001 to 0.1 are usual), and at least one unless it is 0.

    The others are the clean rows of the task. General instructions make up for what is missing, from the file at ``path``
    or made in code. ``sha256`` is filled in from the file.
    """

    n: int = 1000
    rate: float = 0.01
    path: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        check_least("low_rate", "n", self.n, 1)
        check_share("low_rate", "rate", self.rate)
        if self.path:
            object.__setattr__(self, "sha256", digest_of(self.path, self.sha256))

    @property
    def harmful(self) -> int:
        return max(1, round(self.n * self.rate)) if self.rate else 0

    def upload(self, clean: Sequence[Conversation], context: AttackContext) -> list[Conversation]:
        rng = context.random("low_rate")
        missing = max(0, self.n - self.harmful - len(clean))
        rows = [*clean, *instructions("low_rate", missing, context, self.path), *harmful_rows(self.harmful, rng)]
        rng.shuffle(rows)
        return rows
