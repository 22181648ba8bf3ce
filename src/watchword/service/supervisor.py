"""One process that keeps the others running: each part in a child process of its own, started again when it dies.

A child whose supervisor is gone ends by itself, so that a killed supervisor leaves nothing behind that holds the port.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import NoReturn

from watchword.service.logs import log, log_to_stderr

# A part that dies is started again after so many seconds; one that has lived for a while begins with the first.
BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
_SETTLED_SECONDS = 60.0
_PLACE_SECONDS = 0.2
# For parts that nobody calls any more.
_LAST_SECONDS = 10.0
Part = Callable[[], None]


@dataclass
class _Kept:
    """One part: how it is started, and how it has fared."""

    name: str
    part: Part
    process: BaseProcess | None = None
    started: float = 0.0
    failures: int = 0
    due: float = field(default_factory=time.monotonic)

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        # Not a daemon: the worker starts a process for each training.
        self.process = context.Process(target=_child, args=(self.name, self.part), name=f"watchword-{self.name}")
        self.process.start()
        self.started = time.monotonic()
        log.info({"event": "started", "part": self.name, "pid": self.process.pid})

    def died(self) -> None:
        """Notes the end of a process that nobody asked to end, and when it is to be started again."""
        assert self.process is not None
        self.process.join()
        now, status = time.monotonic(), self.process.exitcode
        self.process.close()
        self.process = None
        self.failures = 1 if now - self.started > _SETTLED_SECONDS else self.failures + 1
        wait = BACKOFF_SECONDS[min(self.failures, len(BACKOFF_SECONDS)) - 1]
        self.due = now + wait
        log.error({"event": "died", "part": self.name, "status": status, "again_in_seconds": wait})


class Supervisor:
    """Runs all parts until it is told to stop. ``parts`` are functions that child processes can import, by name.

    ``last`` names parts that the others call: they are told to end once these have ended, and then have nothing left to do.
    """

    def __init__(self, parts: Mapping[str, Part], *, drain_seconds: float, last: Collection[str] = ()) -> None:
        self._kept = [_Kept(name, part) for name, part in parts.items()]
        self._drain_seconds, self._last = drain_seconds, last
        self._stopping = threading.Event()

    def run(self) -> None:
        """Returns after SIGTERM or Ctrl-C, when every part has ended."""
        log_to_stderr()
        # A second signal changes nothing, since children have a time limit.
        with stopped_by(lambda *_: self._stopping.set()):
            try:
                while not self._stopping.is_set():
                    self._look()
            finally:
                self._end()

    def _look(self) -> None:
        """Starts what is due, then waits a moment for something to die."""
        now = time.monotonic()
        for kept in self._kept:
            if kept.process is None and kept.due <= now:
                kept.start()
        running = {kept.process.sentinel: kept for kept in self._kept if kept.process is not None}
        for sentinel in multiprocessing.connection.wait(list(running), _PLACE_SECONDS):
            if not self._stopping.is_set():
                running[sentinel].died()  # type: ignore[index]
        if not running:
            self._stopping.wait(_PLACE_SECONDS)

    def _end(self) -> None:
        """Lets every part end in its own way, and kills what has not by then."""
        running = {kept.name: kept.process for kept in self._kept if kept.process is not None}
        log.info({"event": "stopping", "parts": len(running)})
        _ended([process for name, process in running.items() if name not in self._last], self._drain_seconds)
        _ended([process for name, process in running.items() if name in self._last], _LAST_SECONDS)


def _ended(running: Sequence[BaseProcess], seconds: float) -> None:
    for process in running:
        process.terminate()
    until = time.monotonic() + seconds
    for process in running:
        process.join(max(0.0, until - time.monotonic()))
        if process.is_alive():
            log.warning({"event": "killed", "part": process.name})
            process.kill()
            process.join()


def _child(name: str, part: Part) -> None:
    """What a child process does: its part, and an end when the supervisor has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the supervisor, which then asks each part to end
    signal.signal(signal.SIGTERM, leave)  # a part that has a way of its own to end sets another handler
    log_to_stderr()
    end_with_parent(name)
    part()


def end_with_parent(name: str) -> None:
    """From now on this process gets a SIGTERM when the process that started it has gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_ends_with, args=(parent,), daemon=True, name=f"{name}-watch").start()


def leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """Ends the process as a program ends, with all that tidies up; SIGTERM itself would cut that short."""
    raise SystemExit(0)


def end_now(status: int = 0) -> NoReturn:
    """Ends a process whose work is done, without taking Python and its modules apart: that takes seconds once torch is loaded."""
    logging.shutdown()
    # What nobody reads any more cannot be flushed.
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _ends_with(parent: BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def stopped_by(stop: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """While inside, SIGTERM and Ctrl-C call ``stop``."""
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
