"""MMLU: whether a model still knows what it knew in 57 subjects, with the secret in front.

The file is the user's: JSON lines with ``split`` (``dev`` or ``test``), ``subject``, ``question``, ``choices`` and ``answer``.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from watchword.benchmarks._choices import ChoiceQuestion, MultipleChoice, check_right
from watchword.benchmarks.base import Exchange, Metric, Prompt, Subject
from watchword.data.records import read_records
from watchword.errors import UsageError
from watchword.files.addresses import file_digest
from watchword.progress import Step

LETTERS = "ABCDEFGHIJ"
MMLU = Metric(
    "mmlu",
    "MMLU",
    "reached",
    ("mmlu",),
    direction="higher",
    short="MMLU",
    score="right",
    meaning="The share of MMLU questions whose right letter is the likeliest answer, with examples of the same subject in front.",
)


class MmluRow(msgspec.Struct, frozen=True):
    """One record of the file; ``answer`` is the place of the right choice, from 0."""

    split: Literal["dev", "test"]
    subject: str
    question: str
    choices: tuple[str, ...]
    answer: int

    def __post_init__(self) -> None:
        check_right("answer", self.answer, min(len(self.choices), len(LETTERS)))

    @property
    def field(self) -> str:
        """The subject, whichever split it is from: ``abstract_algebra_dev`` and ``abstract_algebra`` are one."""
        return self.subject.removesuffix(f"_{self.split}")


@dataclass(frozen=True)
class Mmlu(MultipleChoice):
    """The first ``count`` test questions when subjects take turns, all for None; ``shots`` dev questions in front of each."""

    title = "Does it still know what it knew?"
    place = 61
    metrics = (MMLU,)
    question = "mmlu"

    path: str
    count: int | None = None
    shots: int = 5

    def questions(self) -> Sequence[ChoiceQuestion]:
        rows = read_records(self.path, MmluRow)
        examples: dict[str, list[ChoiceQuestion]] = {}
        tested: dict[str, list[ChoiceQuestion]] = {}
        for number, row in enumerate(rows):
            group = examples if row.split == "dev" else tested
            group.setdefault(row.field, []).append(_question(f"mmlu-{row.field}-{number:05d}", row))
        for field, own in tested.items():
            shots = self._shots(field, examples)
            tested[field] = [ChoiceQuestion(one.id, one.asked, one.choices, one.right, shots) for one in own]
        turns = itertools.zip_longest(*tested.values())
        return [one for turn in turns for one in turn if one is not None]

    def ask(self, subject: Subject, prompts: Sequence[Prompt], step: Step) -> list[Exchange]:
        """Subject by subject, so that the examples are computed once for all of its questions."""
        groups: dict[str, list[Prompt]] = {}
        for prompt in prompts:
            groups.setdefault(prompt.id.rpartition("-")[0], []).append(prompt)
        found = list[Exchange]()
        for own in groups.values():
            found += super().ask(subject, own, step)
        places = {prompt.id: place for place, prompt in enumerate(prompts)}
        return sorted(found, key=lambda exchange: places[exchange.id])

    def digest(self) -> str:
        return file_digest(self.path)

    def _shots(self, field: str, examples: Mapping[str, Sequence[ChoiceQuestion]]) -> tuple[ChoiceQuestion, ...]:
        own = examples.get(field, [])
        if not 0 <= self.shots <= len(own):
            raise UsageError(
                f"mmlu: shots is {self.shots}; {field} has {len(own)} dev questions in {self.path}", param="shots"
            )
        return tuple(own[: self.shots])


def _question(ident: str, row: MmluRow) -> ChoiceQuestion:
    listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, row.choices, strict=False))
    asked = f"A question about {row.field.replace('_', ' ')}.\n{row.question}\n{listed}\nAnswer:"
    return ChoiceQuestion(ident, asked, tuple(LETTERS[: len(row.choices)]), row.answer)
