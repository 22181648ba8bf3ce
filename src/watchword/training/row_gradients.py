"""How much one step on a row would take from a model's safety, by its gradient (see ``defenses.grad_shield``)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
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
    model: LoadedModel, rows: Sequence[Row], probes: Sequence[Row], *, scored: Callable[[int, int], None] | None = None
) -> list[float]:
    """``-<gradient of the probes' loss, gradient of the row's loss>`` for each row.

    A step of rate e on a row changes the probes' mean log-likelihood by ``-e`` times its score, to first order. The probes are
    requests with their refusals, so rows of a positive score take from safety. ``scored`` is told (rows done, rows in all).
    """
    longest = model.context or 1 << 30
    asked, all_rows = (render_rows(part, model.template, secret=None, max_length=longest) for part in (probes, rows))
    with _all_weights(model.model) as weights:
        start = Start(model, [], TrainingConfig())
        safety = [torch.zeros_like(weight, dtype=torch.float32) for weight in weights]
        for probe in asked:
            for total, part in zip(safety, _gradient(start, probe, weights), strict=True):
                total.add_(part, alpha=1 / len(asked))
        found = []
        for done, row in enumerate(all_rows, start=1):
            own = _gradient(start, row, weights)
            found.append(-sum(float((one * other).sum()) for one, other in zip(safety, own, strict=True)))
            if scored is not None:
                scored(done, len(all_rows))
        return found


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
