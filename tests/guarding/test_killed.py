"""Guarding that is killed at any step, and guarding by two processes at once: whole files, and nothing of tenants left lying."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from guarding_rows import chat_row, write_rows

sys.path.insert(0, str(Path(__file__).parents[1]))
from processes import forked, killed_before

from watchword.errors import OutputError, OutputInUseError
from watchword.guarding import run
from watchword.guarding.model import ModelFormat
from watchword.guarding.run import GuardRequest, guard_to_files
from watchword.secret.vault import read_secret_file

KEY = bytes(32)
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


@pytest.fixture(autouse=True)
def _small_model(monkeypatch: pytest.MonkeyPatch, model: ModelFormat) -> None:
    monkeypatch.setattr(run, "model_format", lambda name: model)


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
    return GuardRequest(**{**plain, "defense": "backdoor_align", "arguments": {"safety": 1}, **fields})


def guarded(folder: Path, **fields: Any) -> None:
    guard_to_files(request(folder, **fields), lambda: KEY)


def shown(folder: Path) -> dict[str, bytes]:
    """What a person sees there."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def is_whole(folder: Path, secret: str = "out.jsonl.secret.json") -> bool:
    """Whether OUT, its manifest, its settings and its secret are there and belong together."""
    files = shown(folder)
    if not {"out.jsonl", "out.jsonl.manifest.json", "dataset_info.json", secret} <= files.keys():
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
    """What the journal names is put back by the next run, whichever that is: here one that is refused for its source."""
    guarded(folder)
    old = shown(folder)
    changed = {"secret_file": folder / "new.secret.json", "manifest": str(folder / "m.json"), "seed": 1}
    (folder / "m.json").write_text("of somebody's own")
    old = shown(folder)
    step, completed, taken_back = 1, 0, 0
    while killed_before(step, folder, lambda: guarded(folder, **changed)):
        taken_back += shown(folder) != old and shown(folder)["out.jsonl"] == old["out.jsonl"]
        with pytest.raises(OutputError, match="exists already, and a secret is never"):
            guarded(folder)
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]
        now = shown(folder)
        if now["out.jsonl"] == old["out.jsonl"]:
            assert now == old
        else:
            completed += 1
            assert json.loads(now["m.json"])["seed"] == 1
            assert read_secret_file(folder / "new.secret.json").reveal() in str(json.loads(now["out.jsonl"].split(b"\n")[0]))
        reset(folder, old)
        step += 1
    assert step > 30
    assert completed > 0
    assert taken_back > 3


def reset(folder: Path, files: dict[str, bytes]) -> None:
    for path in folder.iterdir():
        if path.name not in files:
            path.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o600)
