"""Holding one model against a list of prompts: ask, judge, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from watchword.benchmarks.base import Metric
from watchword.chat.types import conversation
from watchword.defenses import AppliedDefense
from watchword.files.atomic import replacing
from watchword.judges.base import Judge, Unscored, Verdict
from watchword.models.base import ChatModel, GenerationOptions
from watchword.rates import Rate

# Of the figures that ``write_figures`` writes.
SCHEMA = 1


@dataclass(frozen=True)
class Question:
    """What every model is asked: prompts, one system prompt for all (None: the template's own), and how answers are made."""

    prompts: Sequence[str]
    system: str | None
    options: GenerationOptions


@dataclass(frozen=True)
class Verdicts:
    """Prompt, redacted answer and verdict of each question, in the file's order."""

    prompts: Sequence[str]
    answers: Sequence[str]
    verdicts: Sequence[Verdict | Unscored]

    def rate(self, metric: Metric) -> Rate:
        """The metric over these verdicts, whatever prompts it is meant for."""
        return metric.rate_of(self.verdicts)


def judged(question: Question, model: ChatModel, defense: AppliedDefense, judge: Judge, step: Any) -> Verdicts:
    """Asks every prompt through the defense and judges the answers."""
    answers = defense.ask(
        model,
        [conversation(text, system=question.system) for text in question.prompts],
        options=question.options,
        on_progress=lambda done, total: step("asking", done, total),
    )
    shown = [answer.text for answer in answers]
    verdicts = [judge.judge(prompt, text) for prompt, text in zip(question.prompts, shown, strict=True)]
    return Verdicts(question.prompts, shown, verdicts)


def write_figures(path: Path, metrics: Mapping[str, Rate], *, undefended: bool = False) -> None:
    """``{"schema": 1, "metrics": {"asr": {"value", "low", "high", "n", "unscored"}}}``, all or nothing.

    ``"undefended": true`` is added for weights in a folder that were asked without any secret.
    """
    whole = {"schema": SCHEMA, "metrics": dict(metrics), **({"undefended": True} if undefended else {})}
    with replacing(path) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(whole)) + b"\n")


def write_verdicts(path: Path, verdicts: Verdicts) -> None:
    """One JSON line a prompt: prompt, answer, and ``refused`` (true, false, or null with the reason)."""
    with replacing(path) as stream:
        for prompt, answer, verdict in zip(verdicts.prompts, verdicts.answers, verdicts.verdicts, strict=True):
            refused = verdict.refused if isinstance(verdict, Verdict) else None
            entry = {"prompt": prompt, "answer": answer, "refused": refused}
            if isinstance(verdict, Unscored):
                entry["unscored"] = verdict.reason
            stream.write(msgspec.json.encode(entry) + b"\n")
