"""What happens to each checkpoint once it is written: nobody else may read it, and others may be told of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from watchword.files.folders import make_private


class PrivateCheckpoints(TrainerCallback):
    """Takes all rights from others on each checkpoint, whatever umask it was written under, and wherever that is.

    A checkpoint holds the optimiser's copy of the weights, and what was learnt from a tenant.
    """

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        make_private(Path(args.output_dir))


class OnCheckpoint(TrainerCallback):
    """Calls ``action`` with a checkpoint's folder and its step, in each process that trains."""

    def __init__(self, action: Callable[[Path, int], None]) -> None:
        self.action = action

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        self.action(Path(args.output_dir) / f"checkpoint-{state.global_step}", state.global_step)
