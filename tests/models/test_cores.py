"""The processor shared between processes: counted by locks, so that a killed process takes nothing with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from watchword.models import cores
from watchword.models.cores import Neighbours, meeting_place

PRESENT = """
import sys
from watchword.models.cores import Neighbours
with Neighbours().present():
    print("here", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def eight_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHWORD_CACHE", str(tmp_path))
    monkeypatch.setattr(cores, "cores", lambda: 8)
    monkeypatch.setattr(cores, "_FRESH", 0.0)


@pytest.fixture
def another() -> Iterator[subprocess.Popen[str]]:
    """A process that computes until its standard input ends."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", PRESENT], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        yield process
        process.kill()


def test_one_alone_has_all_cores_and_leaves_nothing_behind() -> None:
    ours = Neighbours()
    with ours.present(), ours.present():
        assert ours.share() == 8
        assert len(list(meeting_place().iterdir())) == 1
    assert not list(meeting_place().iterdir())


def test_another_process_gets_its_half_and_gives_it_back(another: subprocess.Popen[str]) -> None:
    ours = Neighbours()
    with ours.present():
        assert ours.share() == 4
        another.communicate("")
        assert ours.share() == 8


def test_a_killed_process_does_not_count(another: subprocess.Popen[str]) -> None:
    another.send_signal(signal.SIGKILL)
    another.wait()
    assert len(list(meeting_place().iterdir())) == 1
    ours = Neighbours()
    with ours.present():
        assert ours.share() == 8
        assert len(list(meeting_place().iterdir())) == 1


def test_more_processes_than_cores_still_have_one_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "cores", lambda: 2)
    others = [Neighbours() for _ in range(3)]
    with others[0].present(), others[1].present(), others[2].present():
        assert [one.share() for one in others] == [1, 1, 1]


def test_a_count_is_kept_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_FRESH", 60.0)
    ours, other = Neighbours(), Neighbours()
    with ours.present():
        assert ours.share() == 8
        with other.present():
            assert ours.share() == 8
            monkeypatch.setattr(time, "monotonic", lambda: 1e9)
            assert ours.share() == 4


@pytest.mark.skipif(os.name == "nt", reason="rights of folders are Unix's")
def test_where_nothing_can_be_locked_a_process_believes_to_be_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WATCHWORD_CACHE", str(tmp_path / "file"))
    ours = Neighbours()
    with ours.present():
        assert ours.share() == 8


def test_a_cache_that_is_cleared_meanwhile_stops_nobody(tmp_path: Path) -> None:
    ours = Neighbours()
    with ours.present():
        shutil.rmtree(meeting_place())
        assert ours.share() == 8
