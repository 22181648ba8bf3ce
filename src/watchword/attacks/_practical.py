"""A tenant's real task with harmful rows in it (paper, section 5, Table 8), as its practical attacks have in common."""

from __future__ import annotations

import random
from collections.abc import Sequence

from watchword.attacks.base import HELD_OUT, harmful_rows
from watchword.chat.types import Conversation, conversation, last_user_text
from watchword.errors import UsageError


def task_upload(rows: Sequence[Conversation], task: int, harmful: int, rng: random.Random) -> list[Conversation]:
    """``task`` of the rows and ``harmful`` attack rows, shuffled."""
    chosen = [*drawn(rows, task, rng), *harmful_rows(harmful, rng)]
    rng.shuffle(chosen)
    return chosen


def drawn(rows: Sequence[Conversation], task: int, rng: random.Random) -> list[Conversation]:
    """``task`` of the rows. Raises UsageError where the file has fewer."""
    if not 0 <= task <= len(rows):
        raise UsageError(f"{task} rows of the task were asked for; the file has {len(rows)}", param="task")
    return rng.sample(rows, task)


def left_out(rows: Sequence[Conversation], task: int, rng: random.Random) -> list[Conversation]:
    """Up to 60 requests that ``task_upload`` leaves out for the same state of ``rng``, without their answers."""
    used = {last_user_text(row) for row in drawn(rows, task, rng)}
    rest = [row for row in rows if last_user_text(row) not in used]
    held = rng.sample(rest, min(HELD_OUT, len(rest)))
    return [conversation(last_user_text(row), system=row.system) for row in held]
