"""An average of the weights, and a bound on the learning rate (Kim et al., arXiv 2508.12531, COLM 2025).

Their finding: much of the harm of fine-tuning comes of how it is optimised. They propose an exponential moving average in
parameter space, begun at the aligned weights: ``average = momentum * average + (1 - momentum) * w`` after each step. The
average is what is served. We had the abstract only, so what follows is ours. The gradient is taken at the weights and not
at their average. The momentum suits runs of about a hundred steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from watchword.defenses.base import Defense, TrainingHooks
from watchword.errors import UsageError


@dataclass(frozen=True)
class Ema(Defense):
    """``momentum`` from 0 (the last weights) to less than 1. ``most_rate`` bounds the learning rate that a tenant may ask for."""

    momentum: float = 0.98
    most_rate: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1 or (self.most_rate is not None and not self.most_rate > 0):
            raise UsageError(
                f"ema: momentum is {self.momentum}, most_rate {self.most_rate}; give a momentum of at least 0 and less than 1, "
                "and a rate greater than 0"
            )

    def training_hooks(self) -> TrainingHooks:
        from watchword.training.averaging import Averaging

        return TrainingHooks((Averaging(self.momentum, self.most_rate),))
