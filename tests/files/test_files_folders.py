"""Folders that appear whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from watchword.errors import OutputError
from watchword.files.folders import atomic_folder, discard, sweep
from watchword.files.writing import writing


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_folder_is_gone_at_the_end_unless_it_was_renamed(tmp_path: Path) -> None:
    with atomic_folder(tmp_path, ".b-") as left:
        (left / "file").write_text("half")
    with atomic_folder(tmp_path, ".b-") as kept:
        (kept / "file").write_text("whole")
        kept.rename(tmp_path / "done")
    assert [path.name for path in tmp_path.iterdir()] == ["done"]


def test_an_error_inside_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path, ".b-"):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_living_folder_is_not_swept_and_a_dead_ones_is(tmp_path: Path) -> None:
    (tmp_path / ".b-dead").mkdir()
    with atomic_folder(tmp_path, ".b-") as alive:
        sweep(tmp_path, ".b-")
        assert names(tmp_path) == {alive.name, f"{alive.name}.lock"}


def test_what_a_killed_process_left_is_swept_by_the_next(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from watchword.files.folders import atomic_folder\n"
        "with atomic_folder(Path(sys.argv[1]), '.b-') as folder:\n"
        "    (folder / 'half').write_text('x'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert len(names(tmp_path)) == 2
    with atomic_folder(tmp_path, ".b-") as folder:
        assert names(tmp_path) == {folder.name, f"{folder.name}.lock"}


def test_a_file_where_the_parent_should_be_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with (
        pytest.raises(OutputError, match=r"taken: the output cannot be written: .*choose a folder"),
        atomic_folder(tmp_path / "taken", "x"),
    ):
        pass


def test_discard_takes_files_folders_links_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    (tmp_path / "safe").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "safe")
    for name in ("folder", "file", "link", "missing"):
        discard(tmp_path / name, ".b-")
    assert [path.name for path in tmp_path.iterdir()] == ["safe"]


def test_only_what_the_file_system_says_is_turned_into_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="other"), writing(tmp_path):
        raise ValueError("other")
    with pytest.raises(OutputError, match="No space left"), writing(tmp_path):
        raise OSError(28, "No space left on device")
