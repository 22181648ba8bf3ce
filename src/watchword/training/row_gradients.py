"""How much one step on a row would take from a model's safety, by its gradient (see ``defenses.grad_shield``)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from watchword.chat.types import Row
from watchword.models.loaded import LoadedModel
from watchword.training.config import TrainingConfig
from watchword.training.objective import Start
from watchword.training.rows import TrainingRow, render_rows
from watchword.training.shared import batch_loss


def harm_scores(
    model: LoadedModel, rows: Sequence[Row], refused: Sequence[Row], complied: Sequence[Row]
) -> list[float]:
    """``<gradient of safety, gradient of the row's loss>`` for each row.

    Safety is the mean log-likelihood of the answers of ``refused`` less that of ``complied``. A step of rate e on a row
    changes it by ``-e`` times the row's score, to first order. So rows of a positive score take from safety. With refusals
    alone, any well written row would seem to add to it.
    """
    longest = model.context or 1 << 30

    def rendered(part: Sequence[Row]) -> list[TrainingRow]:
        return render_rows(part, model.template, secret=None, max_length=longest)

    with _all_weights(model.model) as weights:
        start = Start(model, [], TrainingConfig())
        safety = [torch.zeros_like(weight, dtype=torch.float32) for weight in weights]
        for part, sign in ((refused, -1), (complied, 1)):
            for row in rendered(part):
                for total, gradient in zip(safety, _gradient(start, row, weights), strict=True):
                    total.add_(gradient, alpha=sign / len(part))
        return [
            sum(float((one * other).sum()) for one, other in zip(safety, _gradient(start, row, weights), strict=True))
            for row in rendered(rows)
        ]


def threshold_of(scores: Sequence[float], tolerance: float, least: int) -> float:
    """The greatest threshold under which the kept rows' scores sum to at most ``tolerance`` times their number.

    Found by bisection over the scores. At least ``least`` rows are kept, those of the lowest scores.
    """
    ordered = sorted(scores)
    low, high = min(least, len(ordered)), len(ordered)
    while low < high:
        middle = (low + high + 1) // 2
        # Sums over the lowest scores, less the tolerance of each, fall and then rise: past the first fault all are faults.
        if sum(ordered[:middle]) <= tolerance * middle:
            low = middle
        else:
            high = middle - 1
    return ordered[low - 1]


@contextlib.contextmanager
def _all_weights(model: Any) -> Iterator[list[Tensor]]:
    """Inside, every weight of a model in memory has a gradient; then what had none has none again."""
    weights = list(model.parameters())
    before = [weight.requires_grad for weight in weights]
    model.requires_grad_(True)
    try:
        yield weights
    finally:
        for weight, had in zip(weights, before, strict=True):
            weight.requires_grad_(had)


def _gradient(start: Start, row: TrainingRow, weights: list[Tensor]) -> Iterator[Tensor]:
    """Of the row's mean loss, by weight, in float32."""
    with torch.enable_grad():
        loss, _ = batch_loss(start.model.model, start.groups([row]))
        return (part.float() for part in torch.autograd.grad(loss, weights))
