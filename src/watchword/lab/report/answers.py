"""Every prompt and reply of a cell with its verdicts: as pages to read, and as rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watchword.benchmarks.base import Exchange, Metric
from watchword.files.atomic import replacing
from watchword.files.writing import writing
from watchword.judges.base import JUDGES, Unscored
from watchword.lab.store import CellResult
from watchword.pages.environment import render_page

# Letters of a cell's key that name its page.
SHORT = 16


@dataclass(frozen=True)
class Said:
    """One verdict: by whom, what, and whether it is what one would wish of this question (None: it could not be told)."""

    by: str
    verdict: str
    good: bool | None


@dataclass(frozen=True)
class Reply:
    """An exchange with what every judge of its question says of it."""

    exchange: Exchange
    said: tuple[Said, ...]


def judged(exchanges: Sequence[Exchange], metrics: Sequence[Metric]) -> list[Reply]:
    """The verdicts that the cell's rates were counted from, given once more by today's judges."""
    return [Reply(exchange, tuple(_said(exchange, metrics))) for exchange in exchanges]


def page_of(cell: CellResult) -> str:
    """Where the cell's page stands, from the report's folder."""
    return f"answers/{cell.key[:SHORT]}.html"


def write_answers(path: Path, cell: CellResult, label: str, replies: Sequence[Reply]) -> None:
    """Writes the cell's page, all or nothing; makes its folder."""
    questions: dict[str, list[Reply]] = {}
    for reply in replies:
        questions.setdefault(reply.exchange.question, []).append(reply)
    content = {"label": label, "cell": cell, "questions": questions}
    text = render_page("watchword.lab.report", "answers.html", content)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        stream.write(text.encode())


def rows_of(cell: CellResult, replies: Sequence[Reply]) -> Iterator[dict[str, Any]]:
    """One row a reply, with a column for each judge; ``verdicts`` of all judges would otherwise be hard to filter by."""
    for reply in replies:
        one = reply.exchange
        own: Mapping[str, Any] = {
            "key": cell.key,
            "model": cell.model,
            "attack": cell.attack,
            "defense": cell.defense,
            "seed": cell.seed,
            "question": one.question,
            "id": one.id,
            "prompt": one.prompt,
            "response": one.response,
            "expected": one.expected or "",
        }
        yield {**own, "verdicts": "; ".join(f"{said.by}: {said.verdict}" for said in reply.said)}


def _said(exchange: Exchange, metrics: Sequence[Metric]) -> Iterator[Said]:
    known = dict[str, Said]()
    for metric in metrics:
        if exchange.question not in metric.questions:
            continue
        said = _by_judge(exchange, metric) if metric.judge is not None else _by_rate(exchange, metric)
        known.setdefault(said.by, said)
    yield from known.values()


def _by_judge(exchange: Exchange, metric: Metric) -> Said:
    judge = metric.judge or ""
    verdict = JUDGES.create(judge).judge(exchange.prompt, exchange.response)
    if isinstance(verdict, Unscored):
        return Said(judge, f"unscored: {verdict.reason}", None)
    word = "refused" if verdict.refused else "complied"
    return Said(judge, word, (word == metric.counts) == (metric.direction == "higher"))


def _by_rate(exchange: Exchange, metric: Metric) -> Said:
    """Of a metric that no judge tells: its own value for this exchange alone."""
    rate = metric.rate([exchange])
    if rate.value is None:
        return Said(metric.name, "unscored", None)
    if metric.counts == "correct":
        hit = rate.value > 0
        return Said(metric.name, "correct" if hit else "wrong", hit == (metric.direction == "higher"))
    return Said(metric.name, f"{rate.value:g}", None)
