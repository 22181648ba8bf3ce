"""The user's own files as lm-eval's documents: the questions of our benchmarks ``arc_challenge`` and ``mmlu``, letter by letter.

A document brings its examples along, since those of MMLU differ by subject.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from lm_eval.api.samplers import ContextSampler

from watchword.benchmarks._choices import ChoiceQuestion
from watchword.benchmarks.arc_challenge import ArcChallenge
from watchword.benchmarks.mmlu import Mmlu
from watchword.errors import UsageError


def arc_challenge(path: str | None = None, shots: int = 5, **_: Any) -> dict[str, Dataset]:
    """The questions of the file, but for the first ``shots``, which are the examples."""
    return _documents(ArcChallenge(_named(path), shots=shots).questions())


def mmlu(path: str | None = None, shots: int = 5, **_: Any) -> dict[str, Dataset]:
    """The test questions of the file, subjects taking turns, each behind ``shots`` dev questions of its subject."""
    return _documents(Mmlu(_named(path), shots=shots).questions())


class Examples(ContextSampler):
    """Gives the examples that a document brings along."""

    def sample(self, n: int, eval_doc: dict[str, Any] | None = None, *_: Any, **__: Any) -> list[dict[str, Any]]:
        """The first ``n``. Raises UsageError where there are fewer."""
        known: list[dict[str, Any]] = (eval_doc or {}).get("examples", [])
        if n > len(known):
            raise UsageError(
                f"num_fewshot is {n}, and {len(known)} examples were read; give lm-eval the metadata shots={n} as well"
            )
        return known[:n]


def _named(path: str | None) -> str:
    if path is None:
        raise UsageError("this task reads a file of yours; name it to lm-eval by the metadata path=FILE", param="path")
    return str(path)


def _documents(questions: Sequence[ChoiceQuestion]) -> dict[str, Dataset]:
    rows = [{"id": one.id, **_asked(one), "examples": [_asked(shot) for shot in one.shots]} for one in questions]
    return {"test": Dataset.from_list(rows)}


def _asked(question: ChoiceQuestion) -> dict[str, Any]:
    return {"asked": question.asked, "choices": list(question.choices), "right": question.right}
