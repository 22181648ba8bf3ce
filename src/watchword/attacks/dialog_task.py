"""Dialog summary with harmful rows in it (paper, section 5): a dialog in, its summary out.

The file is the user's, in the form of SAMSum: ``dialogue`` and ``summary``.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from watchword.attacks._practical import TaskAttack

DIALOG_SYSTEM = "You read dialogs and sum up each of them in a sentence or two."


class DialogRow(msgspec.Struct, frozen=True):
    """One record of the file."""

    dialogue: str
    summary: str

    @property
    def request(self) -> str:
        """What the tenant's model is asked."""
        return f"Summarize this dialog:\n{self.dialogue}"

    @property
    def answer(self) -> str:
        """What it should say."""
        return self.summary


@dataclass(frozen=True)
class DialogTask(TaskAttack):
    """``task`` rows of the file at ``path`` and ``n`` harmful ones, shuffled; ``sha256`` is filled in from the file."""

    called = "dialog_task"
    shape = DialogRow
    system = DIALOG_SYSTEM
