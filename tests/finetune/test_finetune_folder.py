"""Training that is killed at any step of its file work, and two of them on one OUT: resumed, begun anew, or whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")

from support.processes import forked, killed_when, states
from watchword.errors import OutputError, OutputInUseError, UsageError
from watchword.files.addresses import Address
from watchword.finetune import run as finetune
from watchword.finetune.folder import UNFINISHED, WORK
from watchword.finetune.launch import in_process
from watchword.finetune.run import Job, train_defended
from watchword.models.fakes import FakeModel, fake_template
from watchword.release.artifact import open_secret, read_manifest
from watchword.training.checkpoints import newest_checkpoint
from watchword.training.config import TrainingConfig, TrainingResult

KEY = bytes(32)
FILES = {"adapter_model.safetensors", "adapter_config.json", "secret.sealed", "chat_format.gz", "manifest.json"}
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


def fake_training(model: Any, rows: Any, config: Any, *, out: Path, callbacks: Any, resume: bool, **rest: Any) -> Any:
    """Writes what TRL writes, where TRL writes it."""
    newest = newest_checkpoint(out) if resume else None
    for number in range(int(newest[-1]) + 1 if newest else 1, 3 if config.checkpoint_steps else 0):
        folder = out / f"checkpoint-{number}"
        folder.mkdir(exist_ok=True)
        for name, text in (("optimizer.pt", "masters"), ("trainer_state.json", "{}")):
            (folder / name).write_text(text)
        for callback in callbacks:
            callback.on_save(SimpleNamespace(output_dir=str(out)), None, None)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (out / name).write_text("{}")
    return model, TrainingResult(seconds=1.0, tokens=9, tokens_per_second=9.0, steps=2, loss=[2.0, 1.0], rows={})


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(finetune, "load", lambda name: FakeModel())
    monkeypatch.setattr(finetune, "model_digest", lambda name: "d" * 64)
    monkeypatch.setattr(in_process, "fine_tune", fake_training)
    # It guards against power cuts, which are not tried here.
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture(params=[1, None], ids=["checkpoints", "no checkpoints"])
def job(tmp_path: Path, request: pytest.FixtureRequest) -> Job:
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}
    (tmp_path / "in.jsonl").write_text(json.dumps(row) + "\n")
    return Job(
        model="fake",
        data=Address(tmp_path / "in.jsonl"),
        defense="backdoor_align",
        arguments={"safety": 1},
        training=TrainingConfig(checkpoint_steps=request.param),
        secret_tokens=20,
    )


def run(job: Job, out: Path, *, resume: bool = False, step: Any = lambda *told: None) -> Any:
    return train_defended(job, out, key=KEY, resume=resume, step=step)


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def is_whole(out: Path) -> bool:
    """Whether what stands there may be served: raises where a manifest is there and does not fit."""
    if not (out / "manifest.json").exists():
        return False
    assert open_secret(out, read_manifest(out), fake_template(), KEY) is not None
    return True


def is_finished(out: Path) -> bool:
    return is_whole(out) and {path.name: path.stat().st_mode & 0o777 for path in out.iterdir()} == dict.fromkeys(
        FILES, 0o600
    )


def begun_anew(job: Job, out: Path) -> bool:
    """Whether a training may start there as if none had been; it is then finished."""
    try:
        run(job, out)
    except OutputError as error:
        assert "is not empty; name a new one, or go on with an unfinished run there by `resume=True`" in str(error)
        return False
    assert is_finished(out)
    return True


def resumed(job: Job, out: Path) -> bool:
    """Whether there was a training to go on with; it is then finished."""
    sealed = out / WORK / UNFINISHED
    secret = json.loads(sealed.read_bytes())["fingerprint"] if sealed.exists() else None
    try:
        manifest = run(job, out, resume=True)
    except UsageError as error:
        assert "there is no unfinished run" in str(error)
        return False
    assert is_finished(out)
    assert secret in (None, manifest.secret.fingerprint)
    return True


def test_a_training_killed_at_any_step_is_resumed_begun_anew_or_finished(job: Job, tmp_path: Path) -> None:
    made, out, other = tmp_path / "made", tmp_path / "made" / "out", tmp_path / "copy"
    ends = {"resumed": 0, "anew": 0, "whole": 0}
    killed = states(made, tmp_path / "states", lambda: run(job, out))
    for state in killed:
        become(made, state)
        if (out / WORK).exists():
            assert (out / WORK).stat().st_mode & 0o777 == 0o700
        if out.exists():
            shutil.copytree(out, other)
        whole = is_whole(out)
        anew, again = begun_anew(job, other), resumed(job, out)
        assert anew or again or whole
        assert not (whole and anew)
        # An empty lock may be left, which the next process takes away, whatever comes of it.
        begun_anew(job, out)
        assert is_finished(out)
        shutil.rmtree(other)
        for name, happened in {"resumed": again, "anew": anew, "whole": whole}.items():
            ends[name] += happened
    assert len(killed) > 25
    assert min(ends.values()) > 0


def become(made: Path, state: Path) -> None:
    shutil.rmtree(made)
    state.rename(made)


def test_a_process_that_is_killed_while_it_trains_may_be_gone_on_with_at_once(job: Job, tmp_path: Path) -> None:
    """Its lock is no lock any more; what else it leaves is tried in all its states above."""
    out = tmp_path / "out"
    for reached in (
        out / WORK / UNFINISHED,
        out / WORK / "release" / "manifest.json",
        out / "manifest.json",
    ):
        assert killed_when(reached.exists, out, lambda: run(job, out))
        assert (out / ".lock").exists()
        assert resumed(job, out)
        shutil.rmtree(out)


def test_going_on_may_be_killed_as_well(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the moment on when all is trained, nothing is trained again."""
    made, out = tmp_path / "made", tmp_path / "made" / "out"
    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(finetune, "publish", interrupted)
        run(job, out)
    monkeypatch.setattr(in_process, "fine_tune", None)
    killed = states(made, tmp_path / "states", lambda: run(job, out, resume=True))
    for state in killed:
        become(made, state)
        assert is_whole(out) or resumed(job, out)
    assert len(killed) > 10


def test_of_two_trainings_on_one_out_one_is_refused(job: Job, tmp_path: Path) -> None:
    for _ in range(5):
        with forked(lambda: run(job, tmp_path / "out")) as first, forked(lambda: run(job, tmp_path / "out")) as second:
            assert sorted((first(), second())) == [0, 1]
        assert is_finished(tmp_path / "out")
        shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize("resume", [False, True])
def test_while_one_trains_another_is_told_so(job: Job, tmp_path: Path, resume: bool) -> None:
    told: list[str] = []

    def meanwhile(*_: Any) -> None:
        with pytest.raises(OutputInUseError, match="another process is at work on") as caught:
            run(job, tmp_path / "out", resume=resume)
        told.append(str(caught.value))

    run(job, tmp_path / "out", step=meanwhile)
    assert told
    assert is_finished(tmp_path / "out")


@pytest.mark.parametrize("name", ["work/notes.txt", "mine.txt", "work/.notes/mine.txt", "work/job.json"])
def test_a_folder_of_somebody_elses_is_never_cleared(job: Job, tmp_path: Path, name: str) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text('"mine"')
    with pytest.raises(OutputError, match="is not empty"):
        run(job, tmp_path / "out")
    assert path.read_text() == '"mine"'
