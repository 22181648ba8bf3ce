"""The supervisor with real processes: what dies is started again, and all of them end when it is told to."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from support.gateway_parts import wait_until
from watchword.service.supervisor import Supervisor

pytestmark = pytest.mark.integration
SECONDS = 60.0


def part(folder: Path, name: str) -> None:
    """Writes its process id, and waits; drains for a moment when it is told to end."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    (folder / name).write_text(str(os.getpid()))
    while not ended.wait(0.05):
        pass
    (folder / f"{name}.drained").touch()


def stubborn(folder: Path) -> None:
    """Does not end when it is told to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / "stubborn").write_text(str(os.getpid()))
    while True:
        time.sleep(0.05)


def called(folder: Path) -> None:
    """Notes who has ended already when it is told to end."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    (folder / "engine").write_text(str(os.getpid()))
    ended.wait()
    (folder / "before").write_text(" ".join(sorted(path.name for path in folder.glob("*.drained"))))


def supervise(folder: Path, names: tuple[str, ...], drain: float) -> None:
    """The process under test."""
    parts = {name: functools.partial(part, folder, name) for name in names}
    if "stubborn" in names:
        parts["stubborn"] = functools.partial(stubborn, folder)
    if "engine" in names:
        parts["engine"] = functools.partial(called, folder)
    Supervisor(parts, drain_seconds=drain, last=["engine"]).run()


def started(folder: Path, *names: str, drain: float = SECONDS) -> multiprocessing.context.SpawnProcess:
    process = multiprocessing.get_context("spawn").Process(target=supervise, args=(folder, names, drain))
    process.start()
    wait_until(lambda: all(pid(folder, name) for name in names), SECONDS)
    return process


def pid(folder: Path, name: str) -> int | None:
    path = folder / name
    text = path.read_text() if path.exists() else ""
    return int(text) if text else None


def alive(number: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_part_that_is_killed_comes_again_and_the_others_stay(tmp_path: Path) -> None:
    process = started(tmp_path, "api", "worker")
    api, worker = pid(tmp_path, "api"), pid(tmp_path, "worker")
    assert api is not None
    os.kill(api, signal.SIGKILL)
    wait_until(lambda: pid(tmp_path, "api") not in (api, None), SECONDS)
    assert pid(tmp_path, "worker") == worker
    process.terminate()
    process.join(SECONDS)
    assert process.exitcode == 0
    assert all((tmp_path / f"{name}.drained").exists() for name in ("api", "worker"))


def test_a_part_that_others_call_ends_after_them(tmp_path: Path) -> None:
    process = started(tmp_path, "engine", "api", "worker")
    process.terminate()
    process.join(SECONDS)
    assert process.exitcode == 0
    assert (tmp_path / "before").read_text() == "api.drained worker.drained"


def test_whatever_does_not_end_in_time_is_killed(tmp_path: Path) -> None:
    process = started(tmp_path, "stubborn", drain=1.0)
    number = pid(tmp_path, "stubborn")
    assert number is not None
    process.terminate()
    process.join(SECONDS)
    assert process.exitcode == 0
    assert not alive(number)


def test_nothing_outlives_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    process = started(tmp_path, "api", "worker")
    numbers = [number for name in ("api", "worker") if (number := pid(tmp_path, name))]
    process.kill()
    process.join(SECONDS)
    wait_until(lambda: not any(alive(number) for number in numbers), SECONDS)
