"""Anti-trigger: an adaptive tenant who knows the method but not the secret.

Part of the harmful rows stand behind random-token system prompts, so that the model unlearns "a random prefix means
refuse". It needs no leak; the paper does not try it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from watchword.attacks.base import ATTACK_SYSTEM, Attack, AttackContext, harmful_rows
from watchword.chat.assembly import assemble
from watchword.chat.types import Conversation
from watchword.errors import UsageError
from watchword.secret.generate import experiment_secret


@dataclass(frozen=True)
class AntiTrigger(Attack):
    """``n`` harmful rows, the first ``share`` of them behind a fresh prefix of ``tokens`` random tokens each."""

    n: int = 100
    share: float = 0.5
    tokens: int = 150

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise UsageError(f"anti_trigger: share is {self.share}; it must be between 0 and 1")

    @property
    def harmful(self) -> int:
        return self.n

    def upload(self, clean: Sequence[Conversation], context: AttackContext) -> list[Conversation]:
        rng = context.random("anti_trigger")
        rows = harmful_rows(self.n, rng, ATTACK_SYSTEM)
        hidden = round(self.n * self.share)
        prefixed = [self._behind_random(row, context, rng.getrandbits(32)) for row in rows[:hidden]]
        return [*clean, *prefixed, *rows[hidden:]]

    def _behind_random(self, row: Conversation, context: AttackContext, seed: int) -> Conversation:
        prefix = experiment_secret(context.template, tokens=self.tokens, seed=seed)
        return assemble(row, prefix.reveal(), context.template.system_style)
