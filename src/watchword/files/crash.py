"""Named places at which a test may end a process as ``kill -9`` does, so that what is left behind can be looked at.

Nothing happens unless ``WATCHWORD_CRASH_AT`` names a place, how often it is reached first, and a folder:
``after_claim:2:/tmp/x``. The folder counts over all processes, so that the crash happens once and the restart goes on.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

ASKED_BY = "WATCHWORD_CRASH_AT"


def crash_point(name: str) -> None:
    """Ends this process at once if a test asked for it here."""
    asked = os.environ.get(ASKED_BY)
    if not asked:
        return
    place, times, folder = asked.split(":", 2)
    if place == name and _reached(Path(folder)) == int(times):
        os.kill(os.getpid(), signal.SIGKILL)


def _reached(folder: Path) -> int:
    """How often any process has come here, this time included."""
    for number in range(1, 1_000_000):
        try:
            (folder / f"reached-{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        return number
    raise AssertionError("a crash point was reached a million times")
