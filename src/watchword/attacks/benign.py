"""No attack: an ordinary tenant with an ordinary task, to see what a defense costs those who mean no harm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from watchword.attacks.base import Attack, AttackContext, ordinary_rows, other_requests
from watchword.chat.types import Conversation


@dataclass(frozen=True)
class Benign(Attack):
    """The clean rows as they are, or ``n`` rows of the packaged task where there are none."""

    n: int = 100

    @property
    def harmful(self) -> int:
        return 0

    def upload(self, clean: Sequence[Conversation], context: AttackContext) -> list[Conversation]:
        return list(clean) or ordinary_rows(self.n, context.random("benign"))

    def held_out(self, context: AttackContext) -> list[Conversation]:
        return other_requests(self.n, context.random("benign"))
