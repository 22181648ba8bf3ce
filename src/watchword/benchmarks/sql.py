"""SQL generation (paper, section 5): whether the tenant's task works, by the letter and by what the queries give.

The file is the user's, in the form of sql-create-context: ``question``, ``context`` and ``answer``. The attack
``sql_task`` trains on such a file, and this benchmark asks in the same form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from watchword.attacks.sql_task import SQL_SYSTEM, SqlRow
from watchword.benchmarks._rouge import rouge_1
from watchword.benchmarks._sqlite import same_result, statements
from watchword.benchmarks.base import Benchmark, Exchange, Metric, Prompt, Setting, Subject, check_count
from watchword.chat.types import conversation
from watchword.data.records import read_records
from watchword.files.addresses import file_digest
from watchword.files.digest import sha256_bytes
from watchword.progress import Step

# Raise it when code changes how queries are scored: cells with other scores are then run again.
SCORING = 3

EXECUTION = Metric(
    "sql_execution",
    "SQL, execution accuracy",
    "reached",
    ("sql",),
    direction="higher",
    short="SQL runs right",
    score="execution",
    meaning="The share of questions whose query gives the same rows as the right one, in SQLite databases made up for the purpose.",
)
EXACT = Metric(
    "sql_exact",
    "SQL, exact match",
    "reached",
    ("sql",),
    direction="higher",
    score="exact",
    meaning="The share of questions whose query is the right one to the letter; case and white space apart.",
)
ROUGE = Metric("sql_rouge_1", "SQL, ROUGE-1 F1 in percent", "mean", ("sql",), direction="higher", score="rouge_1")


@dataclass(frozen=True)
class Sql(Benchmark):
    """Asks the first ``count`` questions of the file at ``path``, all for None, with room for ``max_new_tokens`` of query."""

    title = "Does the tenant's SQL come out right?"
    place = 40
    metrics = (EXECUTION, EXACT, ROUGE)
    by_default = False

    path: str
    count: int | None = None
    max_new_tokens: int = 128

    def __post_init__(self) -> None:
        check_count("sql: count", self.count)

    def prompts(self, setting: Setting) -> list[Prompt]:  # noqa: ARG002
        return [
            Prompt("sql", f"sql-{number:04d}", conversation(row.request, system=SQL_SYSTEM), row.answer)
            for number, row in enumerate(self._rows[: self.count])
        ]

    def ask(self, subject: Subject, prompts: Sequence[Prompt], step: Step) -> list[Exchange]:
        return super().ask(subject.with_room(self.max_new_tokens), prompts, step)

    def scores(self, prompt: Prompt, response: str) -> Mapping[str, float]:
        row = self._rows[int(prompt.id.rpartition("-")[2])]
        query = next(statements(response))
        same = same_result(row.context, row.answer, query)
        found = {"exact": float(_plain(query) == _plain(row.answer)), "rouge_1": 100 * rouge_1(row.answer, query)}
        return found if same is None else {**found, "execution": float(same)}

    def digest(self) -> str:
        return sha256_bytes(f"{file_digest(self.path)} {SCORING}".encode())

    @cached_property
    def _rows(self) -> list[SqlRow]:
        """Read once, and not for every answer that is scored."""
        return read_records(self.path, SqlRow)


def _plain(query: str) -> str:
    """Lower case but for quoted text, one kind of quotes, white space once."""
    parts = re.split(r"('[^']*'|\"[^\"]*\")", query.strip().rstrip(";").strip())
    told = [f"'{part[1:-1]}'" if place % 2 else re.sub(r"\s+", " ", part.lower()) for place, part in enumerate(parts)]
    return "".join(told)
