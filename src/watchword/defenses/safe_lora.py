"""Safe LoRA (Hsu et al., arXiv 2405.16833, NeurIPS 2024): updates laid onto the subspace of alignment, after training.

For each layer, V is what alignment added to its weights, and ``C = V V' / ||V||`` (equation 2, the fast form). An update
``B A`` whose cosine with ``C B A`` is at most ``threshold`` becomes ``C B A`` (equation 3), which is still an adapter.
Departures: layers that alignment left alone stay as they are. For a model that is a base with aligning adapters, V is
these adapters' own update, which the difference of merged weights only rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watchword.defenses.base import Defense, TrainingHooks
from watchword.errors import UsageError


@dataclass(frozen=True)
class SafeLora(Defense):
    """``threshold`` is the cosine up to which a layer is projected (1: all of them).

    ``unaligned`` names the model before its alignment, where that is not the same one without its adapters.
    """

    threshold: float = 0.35
    unaligned: str | None = None

    def __post_init__(self) -> None:
        if not -1 <= self.threshold <= 1:
            raise UsageError(f"safe_lora: threshold is {self.threshold}; give a cosine from -1 to 1", param="threshold")

    def training_hooks(self) -> TrainingHooks:
        from watchword.training.projection import AdapterOnly

        return TrainingHooks((AdapterOnly(),))

    def guard_weights(self, tuned: Path, base: Any) -> Path:
        from watchword.training.projection import alignment_of, project

        project(tuned, alignment_of(base.name, self.unaligned), self.threshold)
        return tuned
