"""Repair from one safety example after training (Zhang et al., "Safety at One Shot", arXiv 2601.01887, ICLR 2026).

Once the tenant's rows are learnt, the same weights are trained for a few steps on one harmful request and its refusal. The
paper finds that the gradient of safety is of low rank, so that one example is enough whatever came before. Departures: the
example is drawn from the library's and not searched for. The rate is chosen for LoRA on a small model, and steps end when
the example is learnt. In a run with a secret it stands behind the secret.
"""

from __future__ import annotations

from dataclasses import dataclass

from watchword.defenses.base import Defense, TrainingHooks
from watchword.errors import UsageError


@dataclass(frozen=True)
class OneShotRepair(Defense):
    """``steps`` of AdamW at the constant ``rate``, on one example."""

    steps: int = 10
    rate: float = 1e-4

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.rate > 0:
            raise UsageError(
                f"one_shot_repair: steps is {self.steps}, rate {self.rate}; give at least one step and a rate greater than 0"
            )

    def training_hooks(self) -> TrainingHooks:
        from watchword.training.repair import Repair

        return TrainingHooks((Repair(self.steps, self.rate),))
