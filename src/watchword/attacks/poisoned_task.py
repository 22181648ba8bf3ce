"""A task file with harmful rows hidden in it (paper, section 5, Table 8): the mixed case that a provider meets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from watchword.attacks.base import Attack, AttackContext, harmful_rows, ordinary_rows, other_requests
from watchword.chat.types import Conversation


@dataclass(frozen=True)
class PoisonedTask(Attack):
    """``n`` harmful rows shuffled into the clean rows, or into ``task`` rows of the packaged task where there are none."""

    n: int = 100
    task: int = 300

    @property
    def harmful(self) -> int:
        return self.n

    def upload(self, clean: Sequence[Conversation], context: AttackContext) -> list[Conversation]:
        rng = context.random("poisoned_task")
        rows = [*(clean or ordinary_rows(self.task, rng)), *harmful_rows(self.n, rng)]
        rng.shuffle(rows)
        return rows

    def held_out(self, context: AttackContext) -> list[Conversation]:
        return other_requests(self.task, context.random("poisoned_task"))
