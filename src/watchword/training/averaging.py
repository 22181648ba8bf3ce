"""An average of the weights along the way, served in place of the last ones (see ``defenses.ema``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import TrainerCallback

# Beside a checkpoint, so that a resumed run goes on with its average.
_KEPT = "average.safetensors"


class Averaging(TrainerCallback):
    """``momentum`` of the old average and the rest of the new weights after each step; ``most_rate`` bounds the rate."""

    def __init__(self, momentum: float, most_rate: float | None) -> None:
        self.momentum, self.most_rate = momentum, most_rate
        self._average: dict[str, Tensor] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        if self.most_rate is not None:
            _bound(kwargs["lr_scheduler"], self.most_rate)
        kept = Path(args.output_dir, f"checkpoint-{state.global_step}", _KEPT)
        found = load_file(kept) if state.global_step and kept.is_file() else {}
        self._average = {
            name: found.get(name, weight.detach().float().cpu().clone()) for name, weight in _trained(model)
        }

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        for name, weight in _trained(model):
            averaged(self._average[name], weight.detach().float().cpu(), self.momentum)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        save_file(self._average, Path(args.output_dir, f"checkpoint-{state.global_step}", _KEPT))

    @torch.no_grad()
    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        for name, weight in _trained(model):
            weight.copy_(self._average[name])


def averaged(average: Tensor, weight: Tensor, momentum: float) -> None:
    """Moves ``average`` to ``momentum * average + (1 - momentum) * weight``."""
    average.lerp_(weight, 1 - momentum)


def _trained(model: Any) -> list[tuple[str, Tensor]]:
    return [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]


def _bound(schedule: Any, most: float) -> None:
    """Lowers the peak of a schedule, and with it every rate of the run. The first step's rate is set already."""
    for group, peak in zip(schedule.optimizer.param_groups, schedule.base_lrs, strict=True):
        group["lr"] *= min(1.0, most / peak)
    schedule.base_lrs = [min(most, peak) for peak in schedule.base_lrs]
