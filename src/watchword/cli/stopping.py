"""Being told to stop: SIGTERM and SIGHUP unwind a command as Ctrl-C does, so that it can tidy up."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

# Windows has no SIGHUP.
_STOPPING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(KeyboardInterrupt):
    """SIGTERM or SIGHUP came. Unlike Ctrl-C, it always means the whole command."""


@contextlib.contextmanager
def asked_by_ctrl_c(tell: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """While inside, the first Ctrl-C only asks for an end, and ``tell`` says so; the second one stops at once.

    What is given says whether it was asked for.
    """
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            signal.default_int_handler(number, frame)
        asked.set()
        tell()

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[list[int]]:
    """While inside, SIGTERM and SIGHUP raise ``Stopped``; their numbers are in the list.

    Only the first one counts, so that a second cannot stop the tidying up. One that is ignored (nohup) stays ignored.
    """
    own, stopped, before = os.getpid(), list[int](), {}

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if os.getpid() != own:
            # A forked child has inherited this, and nothing to tidy up: it ends as it would have without us.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not stopped:
            stopped.append(number)
            raise Stopped

    for number in _STOPPING:
        if signal.getsignal(number) is signal.SIG_DFL:
            with contextlib.suppress(ValueError):  # not in the main thread, where nobody may set them
                before[number] = signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
