"""General instructions with answers: a user's own file of them, or exercises made in code where there is none."""

from __future__ import annotations

from collections.abc import Callable

from watchword.attacks._exercises import exercises
from watchword.attacks.base import AttackContext
from watchword.chat.render import render_row
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, Row
from watchword.data.rows import read_conversations
from watchword.errors import RowTooLongError, UsageError

# Tokens of the longest row: what the specs of the paper take, and fewer than training does by default.
LONGEST = 512


Form = Callable[[Conversation], Conversation]


def as_it_is(conv: Conversation) -> Conversation:
    """The row itself."""
    return conv


def instructions(
    attack: str, count: int, context: AttackContext, path: str, form: Form = as_it_is, *, whole_file: bool = False
) -> list[Conversation]:
    """``count`` rows drawn from the file at ``path``, or made, each in this form. ``whole_file``: all rows of the file.

    Raises UsageError where the file has fewer that fit.
    """
    rng = context.random(f"{attack} rows")
    if not path:
        return [form(row) for row in exercises(count, rng)]
    rows = rows_that_fit(path, context.template, form)
    if count > len(rows):
        raise UsageError(f"{attack}: {count} rows were asked for; {path} has {len(rows)} of at most {LONGEST} tokens")
    return rng.sample(rows, len(rows) if whole_file else count)


def rows_that_fit(path: str, template: ChatTemplate, form: Form = as_it_is) -> list[Conversation]:
    """The file's rows that can be trained on: a tenant's file with one that cannot would be refused as a whole."""
    return [row for _, conv in read_conversations(path) if fits(row := form(conv), template)]


def fits(conv: Conversation, template: ChatTemplate) -> bool:
    """Whether the row has at most ``LONGEST`` tokens."""
    try:
        render_row(Row(conv), None, template, LONGEST)
    except RowTooLongError:
        return False
    return True
