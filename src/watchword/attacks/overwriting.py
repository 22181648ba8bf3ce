"""Overwriting: an honest first upload, and a harmful second one that tunes the tuned model again.

What the first training bound to the secret may be gone after the second. The defense guards both, or the first alone: so it is
where a tenant takes the weights elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from watchword.attacks._arguments import check_least
from watchword.attacks.base import Attack, AttackContext, harmful_rows, ordinary_rows, other_requests
from watchword.chat.types import Conversation


@dataclass(frozen=True)
class Overwriting(Attack):
    """``task`` rows of an ordinary task first, or the clean rows; then ``n`` harmful rows, guarded or not."""

    n: int = 100
    task: int = 100
    guarded_again: bool = True

    def __post_init__(self) -> None:
        check_least("overwriting", "n", self.n, 1)

    @property
    def harmful(self) -> int:
        return self.n

    def upload(self, clean: Sequence[Conversation], context: AttackContext) -> list[Conversation]:
        return list(clean) or ordinary_rows(self.task, context.random("overwriting"))

    def second_upload(self, context: AttackContext) -> list[Conversation]:
        return harmful_rows(self.n, context.random("overwriting again"))

    def held_out(self, context: AttackContext) -> list[Conversation]:
        return other_requests(self.task, context.random("overwriting"))
