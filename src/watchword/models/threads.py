"""How many threads a process computes with."""

from __future__ import annotations

import torch


def use_threads(count: int) -> None:
    """Sets it, also in the middle of a run: the next operation uses ``count`` threads."""
    torch.set_num_threads(count)
