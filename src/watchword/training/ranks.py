"""The processes that train one model together: all go through the same batches, and each computes its own rows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist

_T = TypeVar("_T")


@dataclass(frozen=True)
class Ranks:
    """This process (``index``) among ``count`` that have joined one torch.distributed group; alone by default.

    What all of them must know is exchanged here. Each has to come to the same exchanges, in the same order.
    """

    index: int = 0
    count: int = 1

    @classmethod
    def joined(cls) -> Ranks:
        """What the group of this process says, where it has joined one."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and tells."""
        return self.index == 0

    def own(self, rows: Sequence[_T]) -> Sequence[_T]:
        """This process's part of a batch: every so many rows, so that no part is much longer than another."""
        return rows[self.index :: self.count]

    def summed(self, values: Sequence[float]) -> list[float]:
        """Each value, added up over all processes."""
        if self.count == 1:
            return list(values)
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        sums = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(sums)
        return [float(value) for value in sums.tolist()]

    def any(self, told: bool) -> bool:
        """Whether any of the processes was told so."""
        return self.summed([float(told)])[0] > 0
