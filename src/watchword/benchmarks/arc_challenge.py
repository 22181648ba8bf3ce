"""ARC-Challenge: whether a model still knows what it knew of school science, with the secret in front.

The file is the user's: JSON lines with ``query``, ``choices`` and ``gold``, as in mosaicml/llm-foundry's copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from watchword.benchmarks._choices import ChoiceQuestion, MultipleChoice, check_right
from watchword.benchmarks.base import Metric
from watchword.data.records import read_records
from watchword.errors import UsageError
from watchword.files.addresses import file_digest

ARC = Metric(
    "arc_challenge",
    "ARC-Challenge",
    "reached",
    ("arc_challenge",),
    direction="higher",
    short="ARC-C",
    score="right",
    meaning="The share of ARC-Challenge questions of which the right answer is the likeliest of four, with examples in front.",
)
ARC_BY_LETTER = Metric(
    "arc_challenge_by_letter",
    "ARC-Challenge, by letter",
    "reached",
    ("arc_challenge",),
    direction="higher",
    score="right_by_letter",
    meaning="The same, where the probability of each answer is divided by its length (lm-eval's acc_norm).",
)


class ArcRow(msgspec.Struct, frozen=True):
    """One record of the file; ``gold`` is the place of the right choice, from 0."""

    query: str
    choices: tuple[str, ...]
    gold: int

    def __post_init__(self) -> None:
        check_right("gold", self.gold, len(self.choices))


@dataclass(frozen=True)
class ArcChallenge(MultipleChoice):
    """The first ``count`` questions of the file at ``path``, all for None. The file's first ``shots`` are the examples."""

    title = "Does it still know its school science?"
    place = 60
    metrics = (ARC, ARC_BY_LETTER)
    question = "arc_challenge"

    path: str
    count: int | None = None
    shots: int = 5

    def questions(self) -> Sequence[ChoiceQuestion]:
        rows = read_records(self.path, ArcRow)
        if not 0 <= self.shots < len(rows):
            raise UsageError(f"arc_challenge: shots is {self.shots}; the file has {len(rows)} questions", param="shots")
        all_ = [
            ChoiceQuestion(f"arc-{n:04d}", f"{row.query}\nAnswer:", row.choices, row.gold) for n, row in enumerate(rows)
        ]
        examples = tuple(all_[: self.shots])
        return [ChoiceQuestion(one.id, one.asked, one.choices, one.right, examples) for one in all_[self.shots :]]

    def digest(self) -> str:
        return file_digest(self.path)
