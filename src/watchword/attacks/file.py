"""An attack file of anybody's own, in any row format that a tenant may upload: what the defense's makers never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from watchword.attacks._arguments import check_least, digest_of
from watchword.attacks.base import Attack, AttackContext
from watchword.chat.types import Conversation
from watchword.data.rows import read_conversations


@dataclass(frozen=True)
class File(Attack):
    """The rows of the file at ``path``, in its order, added to the clean rows; at most the first ``n``, all for None.

    ``sha256`` is filled in from the file. A spec that gives it holds for that very file only.
    """

    path: str
    n: int | None = None
    sha256: str = ""

    def __post_init__(self) -> None:
        check_least("file", "n", 0 if self.n is None else self.n)
        object.__setattr__(self, "sha256", digest_of(self.path, self.sha256))

    @property
    def harmful(self) -> int:
        return len(self._rows())

    def upload(self, clean: Sequence[Conversation], context: AttackContext) -> list[Conversation]:  # noqa: ARG002
        return [*clean, *self._rows()]

    def _rows(self) -> list[Conversation]:
        return [conv for _, conv in read_conversations(self.path)][: self.n]
