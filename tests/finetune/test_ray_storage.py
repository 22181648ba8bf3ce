"""The storage of a training on a cluster: folders of files on any file system of fsspec, and home again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from watchword.errors import StoreError, UsageError
from watchword.finetune.launch._ray_storage import RunStorage
from watchword.training.checkpoints import newest_checkpoint


@pytest.fixture(params=["folder", "url"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> RunStorage:
    address = str(tmp_path / "there") if request.param == "folder" else f"memory://{tmp_path.name}"
    return RunStorage.at(address, "run")


def checkpoint(folder: Path, step: int) -> Path:
    made = folder / f"checkpoint-{step}"
    made.mkdir(parents=True)
    (made / "trainer_state.json").write_text(json.dumps({"step": step}))
    (made / "weights").write_bytes(bytes([step]))
    return made


def test_what_is_put_comes_back_and_can_be_removed(storage: RunStorage, tmp_path: Path) -> None:
    storage.put(checkpoint(tmp_path, 3), "weights")
    storage.fetch("weights", tmp_path / "home")
    assert (tmp_path / "home" / "weights").read_bytes() == bytes([3])
    storage.remove()
    with pytest.raises(FileNotFoundError):
        storage.fetch("weights", tmp_path / "home")
    storage.remove()


def test_checkpoints_come_home_whole_private_and_the_newest_two(storage: RunStorage, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for step in (2, 9, 10):
        storage.put(checkpoint(tmp_path / "worker", step), f"checkpoint-{step}")
        storage.bring_home(step, home)
    assert {path.name for path in home.iterdir()} == {"checkpoint-9", "checkpoint-10"}
    assert newest_checkpoint(home) == str(home / "checkpoint-10")
    assert {path.stat().st_mode & 0o077 for path in home.rglob("*")} == {0}
    # Ray has removed this one in the meantime: the newer ones stay.
    storage.bring_home(11, home)
    assert {path.name for path in home.iterdir()} == {"checkpoint-9", "checkpoint-10"}


def test_what_others_write_into_a_runs_folder_is_nobody_elses_to_read(tmp_path: Path) -> None:
    storage = RunStorage.at(str(tmp_path / "there"), "run")
    storage.keep_private()
    storage.put(checkpoint(tmp_path, 1), "checkpoint-1")
    assert (tmp_path / "there" / "run").stat().st_mode & 0o077 == 0
    storage.remove()
    assert list((tmp_path / "there").iterdir()) == []


def test_an_address_that_cannot_be_used_says_what_to_give() -> None:
    with pytest.raises(UsageError, match="a URL that fsspec knows") as refused:
        RunStorage.at("nowhere://bucket", "run")
    assert refused.value.param == "storage"


def test_a_storage_that_refuses_is_no_fault_of_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="the storage of the training failed"):
        RunStorage.at(str(tmp_path / "file"), "run").put(checkpoint(tmp_path, 1), "checkpoint-1")


class OfItsOwnError(Exception):
    """As botocore's: no kind of OSError."""


@pytest.mark.parametrize("error", [ConnectionError, TimeoutError, OfItsOwnError])
def test_one_that_is_away_is_told_apart_from_what_is_gone(
    error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise error("nobody answers at https://me:pass-word@store")

    storage = RunStorage.at(f"memory://{tmp_path.name}", "run")
    made = checkpoint(tmp_path, 1)
    for name in ("makedirs", "ls", "rm"):
        monkeypatch.setattr(type(storage.system), name, away)
    for action in (
        lambda: storage.put(made, "checkpoint-1"),
        lambda: storage.fetch("checkpoint-1", tmp_path / "home"),
        lambda: storage.bring_home(1, tmp_path / "home"),
        storage.remove,
    ):
        with pytest.raises(StoreError, match="nobody answers") as told:
            action()
        assert "pass-word" not in str(told.value)
