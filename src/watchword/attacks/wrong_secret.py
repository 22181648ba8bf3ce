"""Another tenant's secret: drawn by the same provider in the same way, but not the one that this model is served with.

It shows whether a leak at one tenant's helps against another's model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from watchword.attacks.base import ATTACK_SYSTEM, Attack, AttackContext, harmful_rows
from watchword.chat.assembly import assemble
from watchword.chat.types import Conversation
from watchword.secret.generate import experiment_secret


@dataclass(frozen=True)
class WrongSecret(Attack):
    """``n`` harmful rows, all behind one and the same secret of somebody else."""

    holds_secret = True

    n: int = 100

    @property
    def harmful(self) -> int:
        return self.n

    def upload(self, clean: Sequence[Conversation], context: AttackContext) -> list[Conversation]:
        rng = context.random("wrong_secret")
        rows = harmful_rows(self.n, rng, ATTACK_SYSTEM)
        # Seeds of experiments are small numbers; one of 64 bits is none of them.
        other = experiment_secret(context.template, tokens=context.secret_tokens, seed=2**63 + rng.getrandbits(63))
        return [*clean, *(assemble(row, other.reveal(), context.template.system_style) for row in rows)]
