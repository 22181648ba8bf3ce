"""Which rows a fine-tuning trains on: those kept of a broken-off run, those held out, and the provider's least share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

from support.cli_samples import ROWS, row, tenant_file
from support.tiny import saved
from watchword.chat.types import TENANT, Row, conversation
from watchword.data.rows import read_rows
from watchword.data.upload import Upload
from watchword.defenses.base import Defense, DefenseContext, Guarded, guarded
from watchword.errors import DataError, UnsealError, UsageError
from watchword.files.addresses import Address
from watchword.finetune.folder import WORK
from watchword.finetune.guarded_rows import GUARDED, read_guarded, write_guarded
from watchword.finetune.run import Job, held_out_rows, train_defended
from watchword.training.base import TrainingTask
from watchword.training.config import TrainingConfig
from watchword.training.events import ValidationMeasured
from watchword.training.fakes import FakeTrainer

KEY = bytes.fromhex("5a" * 32)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def job(base: Path, tmp_path: Path) -> Job:
    training = TrainingConfig(epochs=2, batch_size=4, lora_rank=2, checkpoint_steps=1)
    data = Address(tenant_file(tmp_path))
    return Job(
        model=str(base),
        data=data,
        defense="backdoor_align",
        arguments={"safety": 4},
        training=training,
        secret_tokens=30,
    )


class Two(Defense):
    """Mixes in two rows of its own."""

    def guard_data(self, upload: Upload, context: DefenseContext) -> list[Row]:
        return [Row(conversation(text, "No."), origin="safety") for text in ("How to harm?", "How to steal?")]


@given(tenant=st.integers(1, 200), share=st.floats(0, 0.9))
def test_the_providers_rows_keep_their_share(tenant: int, share: float) -> None:
    upload = [conversation(f"Question {number}?", "Yes.") for number in range(tenant)]
    rows = guarded(Two(), upload, DefenseContext(), least_share=share).rows
    own = [row for row in rows if row.origin != TENANT]
    assert len(rows) - len(own) == tenant
    assert len(own) >= share * len(rows) - 1e-6
    # No more than it takes, and each row as often as the other.
    assert len(own) == 2 or (len(own) - 1) / (len(rows) - 1) < share + 1e-6
    counts = [sum(row == one for row in own) for one in Two().guard_data(Upload(0), DefenseContext())]
    assert max(counts) - min(counts) <= 1


def test_a_share_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match=r"least share is 1\.0; it must be at least 0 and less than 1"):
        guarded(Two(), [conversation("Q?", "A.")], DefenseContext(), least_share=1.0)


def test_a_defense_without_rows_gets_none() -> None:
    assert len(guarded(Defense(), [conversation("Q?", "A.")], DefenseContext(), least_share=0.5).rows) == 1


@given(count=st.integers(0, 12))
def test_rows_are_held_out_evenly_and_never_all(tmp_path_factory: pytest.TempPathFactory, count: int) -> None:
    folder = tmp_path_factory.mktemp("rows")
    upload = read_rows(Address(tenant_file(folder, [row(f"Question {number}?", "Yes.") for number in range(8)])))
    kept, out = held_out_rows(upload, count)
    assert len(out) == min(count, 7)
    assert [conv for conv in upload.conversations() if conv in kept] == kept
    assert sorted(map(repr, [*kept, *out])) == sorted(map(repr, upload.conversations()))


def trained_rows(job: Job, out: Path) -> list[Row]:
    trainer = FakeTrainer()
    train_defended(job, out, key=KEY, trainer=trainer)
    return list(trainer.tasks[0].rows)


def test_held_out_rows_do_not_reach_the_trainer(job: Job, tmp_path: Path) -> None:
    rows = trained_rows(msgspec.structs.replace(job, held_out=2), tmp_path / "out")
    _, out = held_out_rows(read_rows(job.address), 2)
    tenant = [row.conversation for row in rows if row.origin == TENANT]
    assert len(tenant) == len(ROWS) - 2
    assert not [conv for conv in out if conv in tenant]


class StoppedError(Exception):
    """Stands in for whatever ends a process."""


class Stops:
    """A trainer that breaks off, with a checkpoint to go on from."""

    takes_loaded_models = False

    def __init__(self) -> None:
        self.tasks: list[TrainingTask] = []

    def train(self, task: TrainingTask, **_: Any) -> Any:
        self.tasks.append(task)
        checkpoint = task.folder / "checkpoint-1"
        checkpoint.mkdir()
        (checkpoint / "trainer_state.json").write_text("{}")
        raise StoppedError


def test_a_resumed_run_trains_on_the_very_same_rows_and_asks_no_model(job: Job, tmp_path: Path) -> None:
    stops, out = Stops(), tmp_path / "out"
    with pytest.raises(StoppedError):
        train_defended(job, out, key=KEY, trainer=stops)
    steps: list[str] = []
    trainer = FakeTrainer()
    train_defended(job, out, key=KEY, trainer=trainer, resume=True, step=lambda what, *_: steps.append(what))
    assert list(trainer.tasks[0].rows) == list(stops.tasks[0].rows)
    assert "asking the aligned model" not in steps
    assert not (out / WORK).exists()
    assert not list(out.rglob(GUARDED))


def test_the_kept_rows_are_sealed_and_private(job: Job, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with pytest.raises(StoppedError):
            train_defended(job, tmp_path / "out", key=KEY, trainer=Stops())
    finally:
        os.umask(before)
    kept = tmp_path / "out" / WORK / GUARDED
    assert kept.stat().st_mode & 0o077 == 0
    raw = kept.read_bytes()
    assert not [turn["content"] for one in ROWS for turn in one["messages"] if turn["content"].encode() in raw]
    assert b"safety" not in raw


def test_kept_rows_open_for_the_same_key_and_data_only(tmp_path: Path) -> None:
    data = Guarded(
        [Row(conversation("Q?", "A\n.")), Row(conversation("R?", "B."), origin="safety", prefixed=True)], {"safety": 1}
    )
    write_guarded(tmp_path, data, KEY, "digest")
    assert read_guarded(tmp_path, KEY, "digest") == data
    for key, digest in ((bytes(32), "digest"), (KEY, "another")):
        with pytest.raises(UnsealError):
            read_guarded(tmp_path, key, digest)
    assert read_guarded(tmp_path / "none", KEY, "digest") is None


def test_validation_rows_are_checked_and_measured(job: Job, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    told: list[Any] = []
    unseen = Address(tenant_file(tmp_path / "more", [row("More?", "Yes.")]))
    manifest = train_defended(
        msgspec.structs.replace(job, validation=unseen), tmp_path / "out", key=KEY, events=told.append
    )
    assert len([event for event in told if isinstance(event, ValidationMeasured)]) == 2
    assert manifest.figures.rows["tenant"] == len(ROWS)
    bad = Address(tmp_path / "more" / "bad.jsonl")
    Path(str(bad.local)).write_text('{"messages": []}\n')
    with pytest.raises(DataError, match="line 1"):
        train_defended(msgspec.structs.replace(job, validation=bad), tmp_path / "out2", key=KEY)


def test_a_model_at_hand_is_not_loaded_again(job: Job, tmp_path: Path) -> None:
    from watchword.models.load import load

    steps: list[str] = []
    train_defended(job, tmp_path / "out", key=KEY, loaded=load(job.model), step=lambda what, *_: steps.append(what))
    assert "loading the model" not in steps
