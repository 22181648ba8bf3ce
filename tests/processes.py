"""Processes for tests: forks that end by SIGKILL before the n-th change to the file system, and forks that run side by side."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# The audit events by which Python says that it is about to change a file system, and where their paths stand.
_CHANGES = {"os.remove": 1, "os.rename": 2, "os.link": 2, "os.mkdir": 1, "os.rmdir": 1, "os.chmod": 1, "os.truncate": 1}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def killed_before(step: int, under: Path, action: Callable[[], object]) -> bool:
    """Runs ``action`` in a fork that is killed before its ``step``-th change (from 1) to a file below ``under``.

    False where it ended by itself before, without an error.
    """
    with forked(lambda: _killing(step, under, action)) as child:
        code = child()
    assert code in (0, -signal.SIGKILL), f"the process ended with {code}"
    return code != 0


@contextlib.contextmanager
def forked(action: Callable[[], object]) -> Iterator[Callable[[], int]]:
    """A fork of this process at ``action``, as a call that waits for its end: exit status, or minus the signal's number."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _child(action)
    codes: list[int] = []

    def ended() -> int:
        if not codes:
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        return codes[0]

    try:
        yield ended
    finally:
        if not codes:
            os.kill(pid, signal.SIGKILL)
            ended()


def _child(action: Callable[[], object]) -> None:
    code = 1
    try:
        action()
        code = 0
    except BaseException:  # noqa: BLE001 -- whatever it is, the fork ends here
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _killing(step: int, under: Path, action: Callable[[], object]) -> None:
    left, folder = [step], str(under)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if not _changes(event, args, folder):
            return
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    action()


def _changes(event: str, args: tuple[Any, ...], folder: str) -> bool:
    if event == "open":
        return bool((args[2] or 0) & _WRITES) and _below(args[0], folder)
    if event in ("os.remove", "os.rmdir") and args[1] >= 0:
        # rmtree names what it removes from the folder that it has open.
        return True
    return any(_below(path, folder) for path in args[: _CHANGES.get(event, 0)])


def _below(path: Any, folder: str) -> bool:
    return isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(folder)
