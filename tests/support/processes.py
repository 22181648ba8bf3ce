"""Processes for tests: forks that end by SIGKILL before the n-th change to the file system, and forks that run side by side."""

from __future__ import annotations

import contextlib
import os
import shutil
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
    left = [step]

    def reached() -> bool:
        left[0] -= 1
        return left[0] == 0

    return killed_when(reached, under, action)


def killed_when(reached: Callable[[], bool], under: Path, action: Callable[[], object]) -> bool:
    """The same, before the first change at which ``reached`` holds."""

    def kill() -> None:
        if reached():
            os.kill(os.getpid(), signal.SIGKILL)

    with forked(lambda: _watched(kill, under, action)) as child:
        code = child()
    assert code in (0, -signal.SIGKILL), f"the process ended with {code}"
    return code != 0


def states(under: Path, into: Path, action: Callable[[], object]) -> list[Path]:
    """Copies of ``under``, as kills before each change to a file in it would leave it. One fork makes them all."""

    def copy() -> None:
        place = into / f"{len(list(into.iterdir())):03}"
        shutil.copytree(under, place, symlinks=True) if under.exists() else place.mkdir()

    into.mkdir()
    with forked(lambda: _watched(copy, under, action)) as child:
        assert child() == 0
    return sorted(into.iterdir())


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


def _watched(before_change: Callable[[], object], under: Path, action: Callable[[], object]) -> None:
    inside, folder = [False], str(under)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if inside[0] or not _changes(event, args, folder):
            return
        inside[0] = True
        before_change()
        inside[0] = False

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
