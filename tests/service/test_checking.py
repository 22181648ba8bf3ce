"""The check of uploads runs in a process of its own, which does not outlive the one that started it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from support.gateway_parts import wait_until
from support.service_parts import rows
from watchword.data.reading import AS_IT_IS
from watchword.service.checking import FileChecker

pytestmark = pytest.mark.integration


def checks_and_waits(path: Path, told: Path) -> None:
    """Checks a file, writes down the child's process id, and waits to be killed."""
    checker = FileChecker(AS_IT_IS)
    assert checker.check(path).problem is None
    (child,) = multiprocessing.active_children()
    told.write_text(str(child.pid))
    signal.pause()


def alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_check_ends_with_the_process_that_was_killed(tmp_path: Path) -> None:
    path, told = tmp_path / "a.jsonl", tmp_path / "pid"
    path.write_bytes(rows())
    process = multiprocessing.get_context("spawn").Process(target=checks_and_waits, args=(path, told))
    process.start()
    wait_until(lambda: told.exists() and bool(told.read_text()), 60)
    child = int(told.read_text())
    assert alive(child)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    wait_until(lambda: not alive(child), 30)
