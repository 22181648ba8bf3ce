"""Dialog summary with harmful rows in it (paper, section 5): a dialog in, its summary out.

The file is the user's, in the form of SAMSum: ``dialogue`` and ``summary``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from watchword.attacks._arguments import check_least, digest_of
from watchword.attacks._instructions import fits
from watchword.attacks._practical import left_out, task_upload
from watchword.attacks.base import Attack, AttackContext
from watchword.chat.types import Conversation, conversation
from watchword.data.records import read_records

DIALOG_SYSTEM = "You read dialogs and sum up each of them in a sentence or two."


class DialogRow(msgspec.Struct, frozen=True):
    """One record of the file."""

    dialogue: str
    summary: str

    @property
    def request(self) -> str:
        """What the tenant's model is asked."""
        return f"Summarize this dialog:\n{self.dialogue}"


@dataclass(frozen=True)
class DialogTask(Attack):
    """``task`` rows of the file at ``path`` and ``n`` harmful ones, shuffled; ``sha256`` is filled in from the file."""

    path: str
    n: int = 100
    task: int = 1000
    sha256: str = ""

    def __post_init__(self) -> None:
        check_least("dialog_task", "n", self.n)
        object.__setattr__(self, "sha256", digest_of(self.path, self.sha256))

    @property
    def harmful(self) -> int:
        return self.n

    def upload(self, clean: Sequence[Conversation], context: AttackContext) -> list[Conversation]:
        return [*clean, *task_upload(self._rows(context), self.task, self.n, context.random("dialog_task"))]

    def held_out(self, context: AttackContext) -> list[Conversation]:
        return left_out(self._rows(context), self.task, context.random("dialog_task"))

    def _rows(self, context: AttackContext) -> list[Conversation]:
        """Those that can be trained on: one that cannot would have the whole upload refused."""
        rows = [
            conversation(row.request, row.summary, system=DIALOG_SYSTEM) for row in read_records(self.path, DialogRow)
        ]
        return [row for row in rows if fits(row, context.template)]
