"""Benign fine-tuning on general instructions (Qi et al., arXiv 2310.03693): no harmful row, and safety still suffers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from watchword.attacks._arguments import check_least, digest_of
from watchword.attacks._instructions import instructions
from watchword.attacks.base import Attack, AttackContext
from watchword.chat.types import Conversation


@dataclass(frozen=True)
class Instructions(Attack):
    """``n`` general instructions from the file at ``path`` (any row format), or made in code where there is none.

    ``sha256`` is filled in from the file.
    """

    n: int = 1000
    path: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        check_least("instructions", "n", self.n)
        if self.path:
            object.__setattr__(self, "sha256", digest_of(self.path, self.sha256))

    @property
    def harmful(self) -> int:
        return 0

    def upload(self, clean: Sequence[Conversation], context: AttackContext) -> list[Conversation]:
        return [*clean, *instructions("instructions", self.n, context, self.path)]
