"""A finished cell is found again; nothing else is ever taken for one."""

from __future__ import annotations

import contextlib
import errno
import shutil
import threading
from pathlib import Path

import msgspec
import pytest

from support.lab_samples import cell_result, spec
from support.processes import forked, states
from watchword.benchmarks.base import Exchange
from watchword.errors import OutputError, UsageError
from watchword.lab.spec import Cell, Choice
from watchword.lab.store import CellResult, Store

ANSWERS = [
    Exchange("policy", "p-1", "How?", "I cannot."),
    Exchange("benign", "b-1", "Tea?", "Boil water.\n\u2028Then …"),
    Exchange("choice", "c-1", "2 + 2?", "4", expected="4"),
]
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
MADE_WITH = {"method": "1", "data": "abc"}


@pytest.fixture
def cell() -> Cell:
    return spec([Choice("fj_attack")], [0], name="x").cells()[3]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "run")


@pytest.fixture
def put(store: Store, cell: Cell) -> str:
    key = store.key(cell, MADE_WITH)
    store.put(key, cell, cell_result(), ANSWERS, fingerprint=MADE_WITH)
    return key


def folder(store: Store, key: str) -> Path:
    return store.root / "cells" / key


def test_a_finished_cell_comes_back_whole(store: Store, cell: Cell, put: str) -> None:
    found = store.get(put)
    assert found is not None
    assert (found.cell, found.key, found.arm, found.fingerprint) == (cell, put, cell.arm, MADE_WITH)
    assert found.metrics == cell_result().metrics
    assert found.versions["python"]
    assert store.answers(put) == ANSWERS


def test_nothing_is_written_before_the_first_cell(store: Store, cell: Cell) -> None:
    assert store.get(store.key(cell, {})) is None
    assert not store.root.exists()


def test_the_key_changes_with_the_cell_and_with_what_it_was_made_with(store: Store, cell: Cell) -> None:
    other = msgspec.structs.replace(cell, seed=1)
    keys = {store.key(cell, {}), store.key(other, {}), store.key(cell, {"data": "a"}), store.key(cell, {"data": "b"})}
    assert len(keys) == 4
    assert store.key(cell, {"a": "1", "b": "2"}) == store.key(cell, {"b": "2", "a": "1"})


@pytest.mark.parametrize("name", ["cell.json", "answers.jsonl"])
def test_a_cell_without_one_of_its_files_is_not_trusted(store: Store, put: str, name: str) -> None:
    (folder(store, put) / name).unlink()
    assert store.get(put) is store.answers(put) is None


@pytest.mark.parametrize("name", ["cell.json", "answers.jsonl"])
def test_a_truncated_file_is_not_trusted(store: Store, put: str, name: str) -> None:
    path = folder(store, put) / name
    path.write_bytes(path.read_bytes()[:-10])
    assert store.get(put) is None


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("cell.json", b'"schema": 2', b'"schema": 1'),
        ("cell.json", b'"safety": 11', b'"safety": 12'),
        ("cell.json", b'"n": 110', b'"n": 119'),
        ("cell.json", b'"seed": 0', b'"seed":  0'),
        ("answers.jsonl", b"I cannot.", b"I cannot!"),
        ("answers.jsonl", b"I cannot.", b"\xff\xfe"),
    ],
)
def test_a_changed_byte_is_not_trusted(store: Store, put: str, name: str, old: bytes, new: bytes) -> None:
    path = folder(store, put) / name
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))
    assert store.get(put) is None


def test_a_cell_under_another_key_is_not_trusted(store: Store, put: str) -> None:
    other = "0" * 64
    folder(store, put).rename(folder(store, other))
    assert store.get(other) is None


def test_a_damaged_cell_is_replaced(store: Store, cell: Cell, put: str) -> None:
    (folder(store, put) / "cell.json").write_text("{")
    store.put(put, cell, cell_result(added={"anchor": 3}), ANSWERS)
    found = store.get(put)
    assert found is not None
    assert found.added == {"anchor": 3}
    assert [path.name for path in (store.root / "cells").iterdir()] == [put]


def test_a_file_in_a_cells_place_is_replaced(store: Store, cell: Cell) -> None:
    key = store.key(cell, {})
    folder(store, key).parent.mkdir(parents=True)
    folder(store, key).write_text("stray")
    store.put(key, cell, cell_result(), ANSWERS)
    assert store.get(key)


def test_the_first_of_two_processes_wins(store: Store, cell: Cell, put: str) -> None:
    second = store.put(put, cell, cell_result(added={"anchor": 9}), ANSWERS, fingerprint=MADE_WITH)
    assert second == store.get(put)
    assert second.added == {"safety": 11}


def test_many_at_once_agree_on_one_result(store: Store, cell: Cell) -> None:
    key, found = store.key(cell, {}), list[CellResult]()

    def run(number: int) -> None:
        found.append(store.put(key, cell, cell_result(added={"anchor": number}), ANSWERS))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({tuple(result.added.items()) for result in found}) == 1
    assert [path.name for path in (store.root / "cells").iterdir()] == [key]


def test_a_full_disk_leaves_nothing_to_trust(store: Store, cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("watchword.files.atomic.os.fsync", full)
    key = store.key(cell, {})
    with pytest.raises(OutputError, match="No space left"):
        store.put(key, cell, cell_result(), ANSWERS)
    assert store.get(key) is None
    assert not list((store.root / "cells").iterdir())


def test_a_run_folder_is_gone_at_the_end_or_kept(store: Store, cell: Cell) -> None:
    key = store.key(cell, {})
    with store.run_folder() as first:
        (first / "adapter").write_text("x")
    assert not (store.root / "kept").exists()
    for text in ("old", "new"):
        with store.run_folder() as again:
            (again / "adapter").write_text(text)
            store.keep(again, key)
    assert (store.kept(key) / "adapter").read_text() == "new"


def test_a_run_that_fails_keeps_what_was_kept_before(store: Store, cell: Cell) -> None:
    key = store.key(cell, {})
    with store.run_folder() as first:
        (first / "adapter").write_text("good")
        store.keep(first, key)
    with pytest.raises(KeyboardInterrupt), store.run_folder() as second:
        (second / "adapter").write_text("half")
        raise KeyboardInterrupt
    assert (store.kept(key) / "adapter").read_text() == "good"
    assert len(list((store.root / "kept").iterdir())) == 1


@pytest.mark.parametrize("key", ["", "../../etc", "A" * 64, "0" * 63])
def test_what_is_no_key_is_refused(store: Store, key: str) -> None:
    with pytest.raises(UsageError, match="is no cell's key"):
        store.kept(key)
    with pytest.raises(UsageError, match="is no cell's key"):
        store.get(key)


def test_a_store_killed_at_any_step_has_the_cell_or_does_not(store: Store, cell: Cell) -> None:
    key, found = store.key(cell, MADE_WITH), 0

    def work() -> None:
        with store.run_folder() as folder:
            (folder / "adapter").write_text("weights")
            store.keep(folder, key)
        store.put(key, cell, cell_result(), ANSWERS, fingerprint=MADE_WITH)

    killed = states(store.root, store.root.parent / "states", work)
    for state in killed:
        shutil.rmtree(store.root)
        state.rename(store.root)
        if (stored := store.get(key)) is not None:
            found += 1
            assert (stored.metrics, store.answers(key)) == (cell_result().metrics, ANSWERS)
        work()
        assert store.get(key) is not None
        assert {path.name for path in store.root.rglob("*")} == {
            "cells",
            "kept",
            key,
            "cell.json",
            "answers.jsonl",
            "adapter",
        }
        assert store.kept(key).stat().st_mode & 0o777 == 0o700
    assert len(killed) > 20
    assert found > 0


def test_runs_that_keep_the_same_folder_at_once_leave_one_whole(store: Store, cell: Cell) -> None:
    key = store.key(cell, {})

    def keep(text: str) -> None:
        for _ in range(20):
            with store.run_folder() as folder:
                (folder / "a").write_text(text)
                (folder / "b").write_text(text)
                store.keep(folder, key)

    with contextlib.ExitStack() as running:
        ends = [running.enter_context(forked(lambda text=text: keep(text))) for text in "xyz"]
        assert [end() for end in ends] == [0, 0, 0]
    assert (store.kept(key) / "a").read_text() == (store.kept(key) / "b").read_text()
    assert len(list((store.root / "kept").iterdir())) == 1
