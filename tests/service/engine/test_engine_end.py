"""How the embedded engine ends: by its own drain, at once, and with no wake-up missed. No torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from watchword.service.engine import scheduler
from watchword.service.engine.scheduler import Scheduler

# A server that has ended as uvicorn does, in a process whose own end would take long.
SCRIPT = """
import atexit, sys
from pathlib import Path
from watchword.service.engine import serving
from watchword.service.settings_file import read_settings
atexit.register(print, "taken apart")

def ended(options):
    print(options.port, options.drain_seconds)
    sys.exit({status})

serving.run_engine = ended
serving.run(read_settings(data=Path({data!r})), 1234, 7)
"""


@pytest.mark.parametrize("status", [0, 3])
def test_its_process_ends_without_taking_python_apart(tmp_path: Path, status: int) -> None:
    """With the status of one that could not listen, for example, whoever keeps it running sees that."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(data=str(tmp_path), status=status)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=dict(os.environ),
    )
    assert (done.returncode, done.stdout) == (status, "1234 7\n"), done.stderr


def test_an_end_between_two_looks_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_LOOK_UP", 3600.0)
    found = Scheduler(most_rows=1, most_waiting=1)
    found._wake = _EndsWhenTaken(found)  # type: ignore[assignment]
    found.start()
    found._thread.join(60)
    assert not found._thread.is_alive()


class _EndsWhenTaken:
    """A condition at which the end is asked for right before the thread that computes looks."""

    def __init__(self, owner: Scheduler) -> None:
        self._inner, self._owner = owner._wake, owner

    def __enter__(self) -> Any:
        with self._inner:
            self._owner._ended = True
            self._inner.notify()
        return self._inner.__enter__()

    def __exit__(self, *error: Any) -> Any:
        return self._inner.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
