"""One process at a time, whatever becomes of it."""

from __future__ import annotations

import errno
import os
import signal
import threading
from pathlib import Path

import pytest

from support.processes import forked
from watchword.errors import OutputError, OutputInUseError
from watchword.files.locks import locked, try_lock

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


def test_the_second_is_refused_and_the_first_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with locked(out):
        with (
            pytest.raises(
                OutputInUseError, match=r"/out: another process is at work on it; wait for it or end it"
            ) as caught,
            locked(out),
        ):
            pass
        assert isinstance(caught.value, OutputError)
        assert [path.name for path in tmp_path.iterdir()] == [".out.lock"]
    assert not list(tmp_path.iterdir())
    with locked(out):
        pass


def test_a_lock_that_a_killed_process_left_is_no_lock(tmp_path: Path) -> None:
    def killed() -> None:
        with locked(tmp_path / "out"):
            os.kill(os.getpid(), signal.SIGKILL)

    with forked(killed) as child:
        assert child() == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [".out.lock"]
    with locked(tmp_path / "out"):
        pass
    assert not list(tmp_path.iterdir())


def test_many_in_turn_are_never_two_at_once(tmp_path: Path) -> None:
    """The lock file is removed and made again all the time, which is where two could hold one of the same name."""
    inside, most, done = [0], [0], [0]

    def work() -> None:
        for _ in range(40):
            with locked(tmp_path / "out", wait=60):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1
                done[0] += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, done) == ([1], [160])
    assert not list(tmp_path.iterdir())


def test_a_link_in_the_locks_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".out.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="out: the output cannot be written"), locked(tmp_path / "out"):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_is_not_there_and_a_file_system_without_locks_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutputError, match="cannot be written: No such file"), locked(tmp_path / "none" / "out"):
        pass

    def unknown(descriptor: int) -> bool:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("watchword.files.locks.lock_open_file", unknown)
    told = "out: the output cannot be locked: Function not implemented; choose a folder on a file system that has file locks"
    with pytest.raises(OutputError, match=told), locked(tmp_path / "out"):
        pass


def test_a_file_is_locked_for_others_and_for_oneself(tmp_path: Path) -> None:
    first = try_lock(tmp_path / "file")
    assert first is not None
    assert try_lock(tmp_path / "file") is None
    first.remove()
    assert not (tmp_path / "file").exists()
