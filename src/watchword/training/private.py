"""Checkpoints that nobody else may read: they hold the optimiser's copy of the weights, and what was learnt from a tenant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from watchword.files.folders import make_private


class PrivateCheckpoints(TrainerCallback):
    """Takes all rights from others on each checkpoint in ``folder``, whatever umask it was written under."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        make_private(self.folder)
