"""General instructions with answers: a user's own file of them, or exercises made in code where there is none."""

from __future__ import annotations

import random

from watchword.attacks._arguments import first_rows
from watchword.attacks._exercises import exercises
from watchword.chat.types import Conversation
from watchword.data.rows import read_conversations


def instructions(attack: str, count: int, rng: random.Random, path: str) -> list[Conversation]:
    """``count`` rows drawn from the file at ``path``, or made. Raises UsageError where the file has fewer."""
    if not path:
        return exercises(count, rng)
    rows = [conv for _, conv in read_conversations(path)]
    first_rows(attack, rows, count, path)
    return rng.sample(rows, count)
