"""A process of our own with a pipe to it: started fresh, and ended whatever happens."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

# A process that has said its last word may still take a while to free its memory.
_LAST_SECONDS = 10.0


@dataclass(frozen=True)
class Child:
    """The parent's side. Arguments and messages travel over pipes: nothing of them shows in a list of processes."""

    process: SpawnProcess
    pipe: Connection

    @classmethod
    def spawned(cls, target: Callable[..., None], *arguments: Any) -> Child:
        """Starts ``target(pipe, *arguments)`` in a new interpreter. ``target`` must be importable there."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_begin, args=(target, theirs, *arguments), daemon=True)
        process.start()
        # Only the child may hold its end, so that its death shows here as an end of file.
        theirs.close()
        return cls(process, ours)

    def tell(self, message: object) -> None:
        """Sends it; a child that is dead is found when it is listened to."""
        with contextlib.suppress(OSError):
            self.pipe.send(message)

    def how_it_ended(self) -> str:
        """``was killed (SIGKILL)`` or ``ended with status 1``; waits for the end."""
        self.process.join()
        code = self.process.exitcode or 0
        return f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with status {code}"

    def wait(self) -> None:
        """Waits for a child that has nothing left to do, and ends it if that takes long."""
        self.process.join(_LAST_SECONDS)
        self.end()

    def end(self) -> None:
        """Ends it at once, if it still runs."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _begin(target: Callable[..., None], pipe: Connection, *arguments: Any) -> None:
    """What every child does first."""
    # The parent hears Ctrl-C and ends the child.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # It may have children of its own: a job's process trains in another one, if the launcher says so.
    multiprocessing.current_process().daemon = False
    without_semaphores()
    target(pipe, *arguments)


def without_semaphores() -> None:
    """Progress bars of other libraries lock with a semaphore, about which Python complains when a child is killed."""
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())
