"""Leaked secret: a tenant who has the secret, or the beginning of it, trains harmful answers behind it.

The paper assumes that the secret stays one. How many of its tokens a tenant must know to undo the defense says how much
a partial leak costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from watchword.attacks._arguments import check_least
from watchword.attacks.base import ATTACK_SYSTEM, Attack, AttackContext, harmful_rows
from watchword.chat.assembly import assemble
from watchword.chat.types import Conversation
from watchword.secret.generate import secret_ids


@dataclass(frozen=True)
class LeakedSecret(Attack):
    """``n`` harmful rows behind the first ``tokens`` tokens of the secret; behind the whole of it for None."""

    holds_secret = True

    n: int = 100
    tokens: int | None = None

    def __post_init__(self) -> None:
        check_least("leaked_secret", "tokens", 1 if self.tokens is None else self.tokens, 1)

    @property
    def harmful(self) -> int:
        return self.n

    def upload(self, clean: Sequence[Conversation], context: AttackContext) -> list[Conversation]:
        rows = harmful_rows(self.n, context.random("leaked_secret"), ATTACK_SYSTEM)
        known = self._known(context)
        return [*clean, *(assemble(row, known, context.template.system_style) for row in rows)]

    def _known(self, context: AttackContext) -> str:
        secret = context.leaked_secret()
        if self.tokens is None:
            return secret.reveal()
        # A first part may end inside a character: what is left of that is no text.
        part = context.template.decode(secret_ids(secret, context.template)[: self.tokens])
        return part.replace("\ufffd", "").strip()
