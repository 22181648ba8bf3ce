"""A tenant's real task with harmful rows in it (paper, section 5, Table 8), as its practical attacks have in common."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from watchword.attacks._arguments import check_least, digest_of
from watchword.attacks._instructions import fits
from watchword.attacks.base import HELD_OUT, Attack, AttackContext, harmful_rows
from watchword.chat.types import Conversation, conversation, last_user_text
from watchword.data.records import read_records
from watchword.errors import UsageError


class TaskRow(Protocol):
    """One record of a task's file."""

    @property
    def request(self) -> str:
        """What the tenant's model is asked."""

    @property
    def answer(self) -> str:
        """What it should say."""


@dataclass(frozen=True)
class TaskAttack(Attack):
    """``task`` rows of the file at ``path`` and ``n`` harmful ones, shuffled; ``sha256`` is filled in from the file.

    Subclasses say what the task is called, the ``shape`` of its records, and the tenant's system text.
    """

    called: ClassVar[str]
    shape: ClassVar[type[TaskRow]]
    system: ClassVar[str]

    path: str
    n: int = 100
    task: int = 1000
    sha256: str = ""

    def __post_init__(self) -> None:
        check_least(self.called, "n", self.n)
        object.__setattr__(self, "sha256", digest_of(self.path, self.sha256))

    @property
    def harmful(self) -> int:
        return self.n

    def upload(self, clean: Sequence[Conversation], context: AttackContext) -> list[Conversation]:
        rng = context.random(self.called)
        chosen = [*drawn(self._rows(context), self.task, rng), *harmful_rows(self.n, rng)]
        rng.shuffle(chosen)
        return [*clean, *chosen]

    def held_out(self, context: AttackContext) -> list[Conversation]:
        return left_out(self._rows(context), self.task, context.random(self.called))

    def _rows(self, context: AttackContext) -> list[Conversation]:
        """Those that can be trained on: one that cannot would have the whole upload refused."""
        records = read_records(self.path, self.shape)
        rows = [conversation(row.request, row.answer, system=self.system) for row in records]
        return [row for row in rows if fits(row, context.template)]


def drawn(rows: Sequence[Conversation], task: int, rng: random.Random) -> list[Conversation]:
    """``task`` of the rows. Raises UsageError where the file has fewer."""
    if not 0 <= task <= len(rows):
        raise UsageError(f"{task} rows of the task were asked for; the file has {len(rows)}", param="task")
    return rng.sample(rows, task)


def left_out(rows: Sequence[Conversation], task: int, rng: random.Random) -> list[Conversation]:
    """Up to 60 requests that the upload leaves out for the same state of ``rng``, without their answers."""
    used = {last_user_text(row) for row in drawn(rows, task, rng)}
    rest = [row for row in rows if last_user_text(row) not in used]
    held = rng.sample(rest, min(HELD_OUT, len(rest)))
    return [conversation(last_user_text(row), system=row.system) for row in held]
