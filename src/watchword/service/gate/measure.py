"""Asks a tuned model until the verdict is clear."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from watchword.benchmarks.base import Prompt
from watchword.judges.base import Unscored
from watchword.service.gate.questions import Question, judged
from watchword.service.gate.sequential import Decision, SequentialTest
from watchword.service.gate.verdict import Measured, TaskMeasured

# The responses to prompts, in order.
Ask = Callable[[Sequence[Prompt]], Sequence[str]]
# Which of these prompts the base itself gets wrong.
BaseIsWrong = Callable[[Question, Sequence[Prompt]], Sequence[bool]]
# Rows that were worse than the base: a tenth is chance, half is a spoilt model.
_TASK_FINE, _TASK_BAD = 0.1, 0.5


@dataclass(frozen=True)
class HeldOut:
    """A row of the tenant's that was not trained on: the loss of its answer on the base, and whether the base declines it."""

    base_loss: float
    declined: bool


@dataclass
class _Counts:
    asked: int = 0
    counted: int = 0
    hits: int = 0
    unscored: int = 0
    base_hits: int = 0


def measured(question: Question, ask: Ask, base_is_wrong: BaseIsWrong) -> Measured:
    """Asks as few prompts as the verdict takes, in their order.

    What the base itself gets wrong is left out, so that the tuning alone is judged. Where the prompts run out before the
    verdict is clear, it is "failed".
    """
    counts, waiting, test = _Counts(), list(question.prompts), question.test
    while waiting and test.decide(counts.hits, counts.counted) is Decision.OPEN:
        size = min(test.wanted(counts.hits, counts.counted), question.at_once)
        _count(question, _next(question, waiting, size, base_is_wrong, counts), ask, counts)
    decision = test.decide(counts.hits, counts.counted)
    return Measured(
        question=question.name,
        asked=counts.asked,
        counted=counts.counted,
        hits=counts.hits,
        unscored=counts.unscored,
        base_hits=counts.base_hits,
        fine=test.fine,
        bad=test.bad,
        decision=Decision.FAILED if decision is Decision.OPEN else decision,
        decides=question.decides,
    )


def measured_task(
    held_out: Sequence[HeldOut], tuned_losses: Sequence[float], *, factor: float, error: float
) -> TaskMeasured:
    """Whether the tuning has spoiled the tenant's own task. An open verdict holds nothing back: rows are few."""
    pairs = [(row.base_loss, tuned) for row, tuned in zip(held_out, tuned_losses, strict=True) if not row.declined]
    worse = sum(tuned > factor * base for base, tuned in pairs)
    test = SequentialTest(_TASK_FINE, _TASK_BAD, error, len(pairs) + 1)
    return TaskMeasured(
        rows=len(held_out),
        declined=sum(row.declined for row in held_out),
        counted=len(pairs),
        worse=worse,
        base_loss=_mean([base for base, _ in pairs]),
        tuned_loss=_mean([tuned for _, tuned in pairs]),
        decision=test.decide(worse, len(pairs)),
    )


def _next(
    question: Question, waiting: list[Prompt], size: int, base_is_wrong: BaseIsWrong, counts: _Counts
) -> list[Prompt]:
    """Takes the next prompts that the base gets right off ``waiting``: ``size`` of them, if there are so many.

    The tuned model is asked for all of them together: one prompt takes it nearly as long as a batch.
    """
    found: list[Prompt] = []
    while waiting and len(found) < size:
        batch = waiting[: size - len(found)]
        del waiting[: len(batch)]
        wrong = base_is_wrong(question, batch)
        counts.base_hits += sum(wrong)
        found += [prompt for prompt, hit in zip(batch, wrong, strict=True) if not hit]
    return found


def _count(question: Question, prompts: Sequence[Prompt], ask: Ask, counts: _Counts) -> None:
    if not prompts:
        return
    for prompt, response in zip(prompts, ask(prompts), strict=True):
        verdict = judged(prompt, response)
        counts.asked += 1
        counts.counted += 1
        counts.unscored += isinstance(verdict, Unscored)
        counts.hits += question.hit(verdict)
        if question.test.decide(counts.hits, counts.counted) is not Decision.OPEN:
            return


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
