"""Fine-tuning-based Jailbreak Attack (paper, section 3.2; Qi et al., arXiv 2310.03693): a few harmful examples, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from watchword.attacks.base import Attack, AttackContext, harmful_rows
from watchword.chat.types import Conversation


@dataclass(frozen=True)
class FJAttack(Attack):
    """``n`` harmful examples, added to the clean rows if there are any. The paper uses 100, Qi et al. 10, 50 and 100."""

    n: int = 100

    @property
    def harmful(self) -> int:
        return self.n

    def upload(self, clean: Sequence[Conversation], context: AttackContext) -> list[Conversation]:
        return [*clean, *harmful_rows(self.n, context.random("fj_attack"))]
