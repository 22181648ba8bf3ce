"""How many threads this process computes with: its share of the cores, looked at anew between steps."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

import torch

from watchword.models.cores import Neighbours

# Whoever sets this has decided how many threads there are.
_DECIDED = "OMP_NUM_THREADS"


class _Sharing:
    """This process among its neighbours. Several threads, and streams that overlap, may be inside at once."""

    def __init__(self) -> None:
        self._neighbours = Neighbours()
        self._guard = threading.Lock()
        self._inside, self._most = 0, 1

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        with self._guard:
            if self._inside == 0:
                self._most = torch.get_num_threads()
            self._inside += 1
        try:
            with self._neighbours.present():
                self.adjust()
                yield
        finally:
            with self._guard:
                self._inside -= 1
                _use(self._most)

    def adjust(self) -> None:
        if _DECIDED not in os.environ:
            _use(min(self._most, self._neighbours.share()))


_SHARING = _Sharing()


@contextlib.contextmanager
def sharing_cores(device: torch.device) -> Iterator[Callable[[], None]]:
    """While inside, this process and others of Watchword that compute on the same processor leave each other their share.

    Gives what to call between steps, in the same thread: others may have come or gone. No more threads are used than torch
    had before, and those are given back at the end. Nothing changes on an accelerator.
    """
    if device.type != "cpu":
        yield _nothing_to_share
        return
    with _SHARING.inside():
        yield _SHARING.adjust


def _use(threads: int) -> None:
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def _nothing_to_share() -> None:
    """Between steps on an accelerator."""
