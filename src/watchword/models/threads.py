"""How many threads this process computes with: its share of the cores, looked at anew between steps."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import torch

from watchword.models.cores import Neighbours

_NEIGHBOURS = Neighbours()
# Whoever sets this has decided how many threads there are.
_DECIDED = "OMP_NUM_THREADS"


@contextlib.contextmanager
def sharing_cores(device: torch.device) -> Iterator[Callable[[], None]]:
    """While inside, this process and others of Watchword that compute on the same processor leave each other their share.

    Gives what to call between steps, in the same thread: others may have come or gone. No more threads are used than torch
    had before, and those are given back at the end. Nothing changes on an accelerator.
    """
    if device.type != "cpu":
        yield _nothing_to_share
        return
    most = torch.get_num_threads()
    with _NEIGHBOURS.present():
        try:
            _use_share(most)
            yield lambda: _use_share(most)
        finally:
            torch.set_num_threads(most)


def _use_share(most: int) -> None:
    if _DECIDED not in os.environ and (wanted := min(most, _NEIGHBOURS.share())) != torch.get_num_threads():
        torch.set_num_threads(wanted)


def _nothing_to_share() -> None:
    """Between steps on an accelerator."""
