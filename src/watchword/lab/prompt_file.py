"""Holding one model against one prompt file of anybody's: read, ask, judge, write."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from watchword.benchmarks.base import Metric
from watchword.chat.types import conversation
from watchword.defenses import AppliedDefense
from watchword.errors import DataError
from watchword.files.atomic import replacing
from watchword.judges.base import Judge, Unscored, Verdict
from watchword.models.base import ChatModel, GenerationOptions
from watchword.rates import Rate

# Of the figures that ``write_figures`` writes.
SCHEMA = 1
KINDS = (".txt", ".csv", ".jsonl")
# First names by which a .csv shows that its first line is a header, beside ``prompt``.
HEADERS = ("goal", "question", "behavior", "instruction", "query", "request", "input", "text")


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


def read_prompts(path: Path, column: str | None = None) -> list[str]:
    """The prompts of a file: .txt one a line, .csv the column ``prompt`` or else the first, .jsonl the key ``prompt``.

    ``column`` names another column or key. A .csv may begin with a header: one that names ``prompt`` or ``column``, or
    whose first name is a usual one (``goal``, ``question`` …).

    Raises DataError with the line for anything else.
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise DataError(f"a prompt file ends in {', '.join(KINDS)}; this one in {path.suffix or 'nothing'}", path=path)
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise DataError(
            f"the file cannot be read: {error.strerror}; check the path and its rights", path=path
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"the file is not UTF-8 (byte {error.start}); save it as UTF-8", path=path) from None
    prompts = _READERS[kind](text, path, column)
    if not prompts:
        raise DataError("the file holds no prompts", path=path)
    return prompts


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


def _txt(text: str, path: Path, column: str | None) -> list[str]:
    if column is not None:
        raise DataError(f"a .txt file has no column {column!r}; leave `column` out", path=path, param="column")
    # Not splitlines: a prompt may hold U+2028 and its like.
    return [line.strip() for line in text.split("\n") if line.strip()]


def _csv(text: str, path: Path, column: str | None) -> list[str]:
    try:
        rows = [row for row in csv.reader(io.StringIO(text), strict=True) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(f"the file is no CSV: {error}; quote fields with commas or line breaks", path=path) from None
    names = [name.strip().lower() for name in rows[0]] if rows else []
    wanted = (column or "prompt").lower()
    if wanted not in names and column is not None:
        raise DataError(f"there is no column {column!r}: choose one of {', '.join(rows[0])}", path=path, line=1)
    place = names.index(wanted) if wanted in names else 0
    first = int(wanted in names or next(iter(names), "") in HEADERS)
    return [row[place].strip() for row in rows[first:] if len(row) > place and row[place].strip()]


def _jsonl(text: str, path: Path, column: str | None) -> list[str]:
    return [
        _prompt(line, number, path, column or "prompt")
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]


def _prompt(line: str, number: int, path: Path, field: str) -> str:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DataError(f"this is no JSON: {error}; put one object on each line", path=path, line=number) from None
    prompt = row.get(field) if isinstance(row, dict) else None
    if not isinstance(prompt, str) or not prompt.strip():
        raise DataError(f'give a text, as in {{"{field}": "…"}}', path=path, line=number, field=field)
    return prompt


_READERS = {".txt": _txt, ".csv": _csv, ".jsonl": _jsonl}
