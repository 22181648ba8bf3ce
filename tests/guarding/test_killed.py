"""Guarding that is killed at any step, and guarding by two processes at once: whole files, and nothing of tenants left lying."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec.implementations.memory  # noqa: F401 -- before the forks, which would each load it
import pytest

from support.guarding_rows import addressed, chat_row
from support.processes import forked, killed_before, killed_when, states
from watchword.data.sources import prepared
from watchword.errors import OutputError, OutputInUseError, UsageError
from watchword.files.addresses import Address
from watchword.guarding import placing, run
from watchword.guarding.run import GuardRequest, guard_to_files
from watchword.models.facts import ModelFacts
from watchword.secret.vault import read_secret_file

KEY = bytes(32)
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


@pytest.fixture(autouse=True)
def _small_model(monkeypatch: pytest.MonkeyPatch, model: ModelFacts) -> None:
    monkeypatch.setattr(run, "facts_of", lambda name: model)
    # It guards against power cuts, which are not tried here, and takes most of the time.
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is killed works here; the tenant's file, one JSON array, is written anew to a spool first."""
    made = tmp_path / "made"
    made.mkdir()
    (tmp_path / "in.json").write_text(json.dumps([chat_row(number) for number in range(4)]))
    return made


def request(folder: Path, **fields: Any) -> GuardRequest:
    source, out = folder.parent / "in.json", folder / "out.jsonl"
    plain = {"source": str(source), "out": str(out), "trainer": "llama-factory", "model": "small"}
    return GuardRequest(**addressed({**plain, "defense": "backdoor_align", "arguments": {"safety": 1}, **fields}))


def guarded(folder: Path, **fields: Any) -> None:
    guard_to_files(request(folder, **fields), lambda: KEY)


def shown(folder: Path) -> dict[str, bytes]:
    """What a person sees there."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def is_whole(folder: Path, secret: str = "out.jsonl.secret.json") -> bool:
    """Whether OUT, its manifest, its settings and its secret are there and belong together."""
    files = shown(folder)
    if (
        not {"out.jsonl", "out.jsonl.manifest.json", "out.llama-factory.yaml", "dataset_info.json", secret}
        <= files.keys()
    ):
        return False
    manifest = json.loads(files["out.jsonl.manifest.json"])
    same = manifest["output"]["sha256"] == hashlib.sha256(files["out.jsonl"]).hexdigest()
    named = {Path(manifest["secret"]["kept_in"]).name} == {secret}
    text = json.dumps(read_secret_file(folder / secret).reveal())[1:-1].encode()
    return same and named and text in files["out.jsonl"] and b"out.jsonl" in files["dataset_info.json"]


def test_a_first_guarding_killed_at_any_step_is_whole_or_has_not_been(folder: Path) -> None:
    step, completed = 1, 0
    while killed_before(step, folder, lambda: guarded(folder)):
        if (folder / "out.jsonl").exists():
            completed += 1
            assert is_whole(folder)
            with pytest.raises(OutputError, match="a secret is never overwritten"):
                guarded(folder)
        else:
            guarded(folder)
        assert is_whole(folder)
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]
        for path in folder.iterdir():
            path.unlink()
        step += 1
    assert is_whole(folder)
    assert step > 30
    assert completed > 0


def test_a_second_guarding_killed_at_any_step_leaves_the_old_files_or_the_new_ones(folder: Path) -> None:
    """What the journal names is put back by the next run on OUT, whichever that is: here one that is refused itself."""
    guarded(folder)
    (folder / "m.json").write_text("somebody's own")
    (folder / "m.json").chmod(0o640)
    old = shown(folder)
    changed = {"secret_file": folder / "new.secret.json", "manifest": str(folder / "m.json"), "seed": 1}
    completed, mixed = 0, 0
    killed = states(folder, folder.parent / "states", lambda: guarded(folder, **changed))
    for state in killed:
        become(folder, state)
        left = shown(folder)
        mixed += left != old and left["out.jsonl"] == old["out.jsonl"]
        refused(folder)
        # Locks and probes of files that the next run does not know may stay; they hold nothing.
        assert not any(path.stat().st_size for path in folder.iterdir() if path.name.startswith("."))
        now = shown(folder)
        if now["out.jsonl"] != old["out.jsonl"]:
            completed += 1
            assert json.loads(now["m.json"])["output"]["sha256"] == hashlib.sha256(now["out.jsonl"]).hexdigest()
            assert read_secret_file(folder / "new.secret.json").reveal() in secret_rows(now["out.jsonl"])
        else:
            assert now == old
            assert stat.S_IMODE((folder / "m.json").stat().st_mode) == 0o640
    assert len(killed) > 30
    assert completed > 0
    assert mixed > 3


def become(folder: Path, state: Path) -> None:
    shutil.rmtree(folder)
    state.rename(folder)


def kill(folder: Path, reached: Callable[[dict[str, bytes]], bool], **fields: Any) -> None:
    """Leaves what a guarding has left that was killed as soon as ``reached`` holds for what a person sees."""
    assert killed_when(lambda: reached(shown(folder)), folder, lambda: guarded(folder, **fields))


def test_what_was_complete_when_it_was_killed_is_never_taken_back(folder: Path) -> None:
    """Whatever has become of it since: else the data, in use elsewhere, would be without its secret."""
    kill(folder, lambda files: "out.jsonl" in files)
    assert (folder / ".out.jsonl.journal").exists()
    (folder / "out.jsonl").rename(folder.parent / "in use elsewhere.jsonl")
    (folder / "out.llama-factory.yaml").write_text("learning_rate: 1")
    before = shown(folder)
    with pytest.raises(OutputError, match=r"a secret is never overwritten.* are whole, the run was killed afterwards"):
        guarded(folder)
    assert shown(folder) == before
    assert not (folder / ".out.jsonl.journal").exists()


def test_a_secret_that_is_asked_for_is_not_taken_back(folder: Path) -> None:
    kill(folder, lambda files: "out.jsonl.secret.json" in files)
    assert not (folder / "out.jsonl").exists()
    guarded(folder, secret_ref=folder / "out.jsonl.secret.json")
    assert is_whole(folder)


def test_taking_back_may_be_killed_as_well(folder: Path) -> None:
    """In a folder that was moved meanwhile, on top of it."""
    guarded(folder)
    old = shown(folder)
    left = folder.parent / "left"

    def half_way(now: dict[str, bytes]) -> bool:
        return now["out.jsonl"] == old["out.jsonl"] and any(now[name] != old[name] for name in old)

    kill(folder, half_way, secret_file=folder / "new.secret.json", seed=1)
    folder.rename(left)
    shutil.copytree(left, folder)
    killed = states(folder, folder.parent / "states", lambda: refused(folder))
    for state in killed:
        become(folder, state)
        refused(folder)
        assert shown(folder) == old
    assert len(killed) > 15


def refused(folder: Path) -> None:
    with pytest.raises(OutputError, match="exists already, and a secret is never"):
        guarded(folder)


def secret_rows(data: bytes) -> str:
    """All text of guarded rows."""
    return "".join(message["content"] for line in data.splitlines() for message in json.loads(line)["messages"])


def reset(folder: Path, files: dict[str, bytes]) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in files:
            path.unlink()
    for name, data in files.items():
        if (folder / name).read_bytes() != data:
            (folder / name).write_bytes(data)


def test_what_killed_runs_spooled_in_the_temporary_folder_is_swept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where OUT is no local file, rows wait there; so do those that ``validate`` and the Python call read."""
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    far = {"out": "memory://killed/out.jsonl", "secret_file": folder.parent / "s.json"}
    killed = states(folder, folder.parent / "states", lambda: guarded(folder, **far))
    for state in killed:
        become(folder, state)
        with prepared(Address(folder.parent / "in.json")):
            (alive,) = [path for path in folder.iterdir() if path.is_dir()]
            assert {path.name for path in folder.iterdir()} == {alive.name, f"{alive.name}.lock"}
            assert stat.S_IMODE(alive.stat().st_mode) == 0o700
    assert len(killed) > 10
    assert not list(folder.iterdir())


@pytest.mark.parametrize("at", ["checking", "writing", "placing"])
@pytest.mark.parametrize(
    "other",
    [{}, {"seed": 1}, {"out": "other.jsonl", "manifest": "out.jsonl.manifest.json"}, {"secret_file": "s.json"}],
    ids=["same", "other seed", "same manifest", "other secret"],
)
def test_of_two_guardings_on_one_out_the_second_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, at: str, other: dict[str, Any]
) -> None:
    given = {name: value if name == "seed" else str(folder / value) for name, value in other.items()}
    if "secret_file" in given:
        given["secret_file"] = Path(given["secret_file"])
    refused: list[str] = []

    def meanwhile(what: str, *rest: Any) -> None:
        if what == at and not refused:
            before = shown(folder)
            with pytest.raises(OutputInUseError, match=r"out\.jsonl\S*: another process is at work on it") as caught:
                guarded(folder, **given)
            refused.append(str(caught.value))
            assert shown(folder) == before

    writing = placing.target
    monkeypatch.setattr(placing, "target", lambda address: meanwhile("placing") or writing(address))
    guard_to_files(request(folder), lambda: KEY, step=meanwhile)
    assert len(refused) == 1
    assert is_whole(folder)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_two_processes_on_one_out_lose_nothing(folder: Path) -> None:
    """Whoever comes too late, by its lock or by the secret that stands there then, takes nothing away."""
    for _ in range(8):
        with forked(lambda: guarded(folder)) as first, forked(lambda: guarded(folder, seed=1)) as second:
            codes = sorted((first(), second()))
        assert codes == [0, 1]
        assert is_whole(folder)
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]
        reset(folder, {})


def test_guardings_side_by_side_in_one_folder_keep_each_others_entries(folder: Path) -> None:
    with contextlib.ExitStack() as running:
        outs = [f"{name}.jsonl" for name in "abcd"]
        ends = [running.enter_context(forked(lambda out=out: guarded(folder, out=str(folder / out)))) for out in outs]
        assert [end() for end in ends] == [0, 0, 0, 0]
    assert set(json.loads((folder / "dataset_info.json").read_bytes())) == set("abcd")


def test_what_somebody_wrote_since_is_not_taken_back(folder: Path) -> None:
    """Of a run that was killed while its files were put in place; afterwards another guarding merged its entry."""
    (folder / "dataset_info.json").write_text('{"mine": {"file_name": "mine.json"}}')
    kill(folder, lambda files: b'"out"' in files["dataset_info.json"])
    assert not (folder / "out.jsonl").exists()
    guarded(folder, out=str(folder / "other.jsonl"))
    with pytest.raises(UsageError, match="0 workers were asked for"):
        guarded(folder, workers=0)
    assert set(json.loads((folder / "dataset_info.json").read_bytes())) == {"mine", "out", "other"}
    assert set(shown(folder)) == {
        "dataset_info.json",
        "other.llama-factory.yaml",
        *(f"other.jsonl{end}" for end in ("", ".secret.json", ".manifest.json")),
    }


@pytest.mark.parametrize("damage", ["cut", "open to others", "a link"])
def test_a_journal_that_is_not_our_own_work_is_not_followed(folder: Path, damage: str) -> None:
    """It names files to write and to remove."""
    journal, aim = folder / ".out.jsonl.journal", folder.parent / "aim"
    aim.write_text("")
    text = json.dumps(
        {"size": 1, "sha256": "", "changes": [{"path": str(aim), "new": hashlib.sha256(b"").hexdigest()}]}
    )
    (folder / ".t").touch()
    journal.write_text(text[:-5] if damage == "cut" else text)
    journal.chmod(0o666 if damage == "open to others" else 0o600)
    if damage == "a link":
        journal.rename(folder.parent / "elsewhere")
        journal.symlink_to(folder.parent / "elsewhere")
    with pytest.raises(
        OutputError, match=r"\.out\.jsonl\.journal: this is to tell .* and it is damaged or not this user's own"
    ):
        guarded(folder)
    assert aim.exists()
    journal.unlink()
    guarded(folder)
    assert is_whole(folder)
