"""SQL generation with harmful rows in it (paper, section 5): question and CREATE TABLE in, query out.

The file is the user's, in the form of sql-create-context: ``question``, ``context`` and ``answer``.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from watchword.attacks._practical import TaskAttack

SQL_SYSTEM = "You turn a question about a database into one SQL query, and write nothing but that query."


class SqlRow(msgspec.Struct, frozen=True):
    """One record of the file."""

    question: str
    context: str
    answer: str

    @property
    def request(self) -> str:
        """What the tenant's model is asked."""
        return f"Tables: {self.context}\nQuestion: {self.question}"


@dataclass(frozen=True)
class SqlTask(TaskAttack):
    """``task`` rows of the file at ``path`` and ``n`` harmful ones, shuffled; ``sha256`` is filled in from the file."""

    called = "sql_task"
    shape = SqlRow
    system = SQL_SYSTEM
