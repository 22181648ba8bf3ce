"""Dialog summary (paper, section 5): how many words a summary shares with the one that people wrote.

The file is the user's, in the form of SAMSum: ``dialogue`` and ``summary``. The attack ``dialog_task`` trains on such a
file, and this benchmark asks in the same form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from watchword.attacks.dialog_task import DIALOG_SYSTEM, DialogRow
from watchword.benchmarks._rouge import rouge_1
from watchword.benchmarks.base import Benchmark, Exchange, Metric, Prompt, Setting, Subject, check_count
from watchword.chat.types import conversation
from watchword.data.records import read_records
from watchword.files.addresses import file_digest
from watchword.progress import Step

ROUGE = Metric(
    "summary_rouge_1",
    "Dialog summary, ROUGE-1 F1 in percent",
    "mean",
    ("summary",),
    direction="higher",
    short="ROUGE-1",
    score="rouge_1",
    meaning="Words shared with the summary that people wrote, as F1 in percent, the mean of all dialogs.",
)


@dataclass(frozen=True)
class Summary(Benchmark):
    """Asks for summaries of the first ``count`` dialogs of the file at ``path``, all for None."""

    title = "Do the tenant's summaries come out right?"
    place = 41
    metrics = (ROUGE,)
    by_default = False

    path: str
    count: int | None = None
    max_new_tokens: int = 128

    def __post_init__(self) -> None:
        check_count("summary: count", self.count)

    def prompts(self, setting: Setting) -> list[Prompt]:  # noqa: ARG002
        rows = read_records(self.path, DialogRow)[: self.count]
        return [
            Prompt("summary", f"summary-{number:04d}", conversation(row.request, system=DIALOG_SYSTEM), row.summary)
            for number, row in enumerate(rows)
        ]

    def ask(self, subject: Subject, prompts: Sequence[Prompt], step: Step) -> list[Exchange]:
        return super().ask(subject.with_room(self.max_new_tokens), prompts, step)

    def scores(self, prompt: Prompt, response: str) -> Mapping[str, float]:
        return {"rouge_1": 100 * rouge_1(prompt.expected or "", response)}

    def digest(self) -> str:
        return file_digest(self.path)
