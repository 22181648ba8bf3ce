"""A service's database, blobs and a job in them, and a tuner that trains nothing, for tests of the worker. No torch."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import pytest

from watchword.errors import KeyServiceError, StoreError, TrainingCancelledError
from watchword.files.atomic import replacing
from watchword.models.fakes import fake_template
from watchword.release.artifact import (
    MANIFEST,
    DefenseRecord,
    ReleaseManifest,
    secret_record,
    signed_manifest,
    weights_digest,
    write_artifact,
)
from watchword.release.chat_format import keep_format
from watchword.secret.generate import generate_secret
from watchword.service.crash import crash_point
from watchword.service.db import Database, open_database
from watchword.service.gate.sequential import Decision
from watchword.service.gate.verdict import Measured, SecretMeasured, Verdict
from watchword.service.settings import PlaceSettings, Policy, ServiceSettings, WorkerSettings
from watchword.service.storage import Blobs
from watchword.service.types.files import NewFile
from watchword.service.types.jobs import Idempotency, Job, JobState, NewJob, Stage
from watchword.service.types.tenants import EVERY_TENANT, Principal
from watchword.service.worker.child import run_order
from watchword.service.worker.curve import Curve
from watchword.service.worker.loop import Worker
from watchword.service.worker.messages import Order, StageBegan, StageEnded
from watchword.service.worker.pipeline import Run
from watchword.training.config import TrainingConfig, TrainingResult
from watchword.training.events import LossMeasured, StepDone, TokenFigures

KEY = bytes(range(32))
TENANT = Principal("acme", "key1")
# How the fake tuner of a job's process behaves: JSON with the fields of ``Behaviour``.
BEHAVIOUR = "WATCHWORD_TEST_TUNER"


class Behaviour(msgspec.Struct):
    """``fails``: attempts that the gate holds back. ``error`` is raised in training. ``dies``: how often, at the first step.

    ``tells``: the model tells its secret.
    ``away``: how often a store for checkpoints is, at the first step. ``keyless``: how often a key service is.
    """

    steps: int = 4
    seconds: float = 0.0
    fails: int = 0
    error: str = ""
    dies: int = 0
    tells: bool = False
    away: int = 0
    keyless: int = 0


def behave(patch: pytest.MonkeyPatch, **fields: Any) -> None:
    """How every training goes from now on, in all processes that are started: the fields of ``Behaviour``."""
    patch.setenv(BEHAVIOUR, msgspec.json.encode(Behaviour(**fields)).decode())


class FakeTuner:
    """Counts steps into a file, as a checkpoint would, and leaves a release that opens with the key."""

    def __init__(self, order: Order, tell: Callable[[Any], None], cancel: Callable[[], bool]) -> None:
        self.order, self.tell, self.cancel = order, tell, cancel
        self.behaviour = msgspec.json.decode(os.environ.get(BEHAVIOUR, "{}"), type=Behaviour)

    def tune(self, attempt: int, least_share: float) -> Run:
        out = self.order.folder / f"release-{attempt}"
        curve = Curve(self.order.folder / f"curve-{attempt}.json", rows=10, batch_size=5, epochs=2, validated=False)
        if not (out / MANIFEST).exists():
            self.tell(StageBegan(Stage.GUARD))
            self.tell(StageEnded(Stage.GUARD))
            crash_point("after_guard")
            self.tell(StageBegan(Stage.TRAIN))
            self._train(out, curve)
            _release(out, self.order)
            self.tell(StageEnded(Stage.TRAIN))
        manifest = signed_manifest(out, KEY)
        return Run(out, manifest.weights_digest, 120, max(0.5, least_share), curve.csv())

    def inspect(self, run: Run) -> Verdict:
        failed = int(run.release.name[-1]) < self.behaviour.fails
        decision = Decision.FAILED if failed else Decision.PASSED
        measured = Measured(
            question="policy",
            asked=18,
            counted=18,
            hits=9 * failed,
            unscored=0,
            base_hits=0,
            fine=0.05,
            bad=0.2,
            decision=decision,
        )
        told = self.behaviour.tells
        secret = SecretMeasured(asked=36, left_out=0, above=3 * told, most_bits=2.0 + 600 * told, threshold=64.0)
        return Verdict(questions=(measured,), task=None, error=0.05, seconds=0.1, secret=secret)

    def _train(self, out: Path, curve: Curve) -> None:
        out.mkdir(exist_ok=True)
        done = out / "steps"
        for step in range(int(done.read_text()) if done.exists() else 0, self.behaviour.steps):
            if self.cancel():
                raise TrainingCancelledError("the training was cancelled")
            time.sleep(self.behaviour.seconds)
            self._misbehave()
            for event in (
                StepDone(step + 1, self.behaviour.steps),
                LossMeasured(step + 1, 2.0 - step / 10, TokenFigures(5, 2.0 - step / 10, 2)),
            ):
                for message in curve.hear(event):
                    self.tell(message)
            with replacing(done) as stream:
                stream.write(str(step + 1).encode())
            crash_point("after_checkpoint")

    def _misbehave(self) -> None:
        if self.behaviour.error:
            raise RuntimeError(self.behaviour.error)
        if self._happens("away", self.behaviour.away):
            raise StoreError("the store of the checkpoints cannot be used")
        if self._happens("keyless", self.behaviour.keyless):
            raise KeyServiceError("the key service cannot be reached")
        if self._happens("deaths", self.behaviour.dies):
            os._exit(9)

    def _happens(self, what: str, times: int) -> bool:
        """Whether it has not happened so many times yet, in all of the job's processes."""
        marks = self.order.folder / what
        count = len(marks.read_text()) if marks.exists() else 0
        if count < times:
            marks.write_text("x" * (count + 1))
        return count < times


def fake_work(pipe: Connection) -> None:
    """What a job's process runs in these tests."""
    run_order(pipe, FakeTuner)


@dataclass(frozen=True)
class Service:
    """Everything of a service but its API."""

    settings: ServiceSettings
    database: Database
    blobs: Blobs

    def worker(self, target: Callable[..., None] = fake_work, **options: Any) -> Worker:
        return Worker(self.settings, self.database, self.blobs, KEY, target=target, **options)

    def file(self, rows: int = 10, data: bytes | None = None) -> str:
        blob = self.blobs.put(data if data is not None else b"".join(map(line, range(rows))))
        new = NewFile("fine-tune", "rows.jsonl", blob.bytes, blob.sha256, blob.name)
        return self.database.create_file(TENANT, new).id

    def job(self, **changes: Any) -> Job:
        asked = {"model": model_of(self.settings), "training_file": changes.pop("training_file", None) or self.file()}
        return self.database.create_job(TENANT, NewJob(**asked | changes), Idempotency(os.urandom(8).hex()))

    def state(self, job: Job) -> JobState:
        return self.now(job).state

    def now(self, job: Job) -> Job:
        return self.database.job(EVERY_TENANT, job.id)

    def events(self, job: Job, *, private: bool = False) -> list[Any]:
        owner = EVERY_TENANT if private else TENANT.tenant
        return list(self.database.job_events(owner, job.id, limit=1000, ascending=True).items)

    def stages(self, job: Job, *, private: bool = False) -> list[tuple[str, str]]:
        told = [event.data for event in self.events(job, private=private) if event.data and "stage" in event.data]
        return [(data["stage"], data["status"]) for data in told]


def line(number: int) -> bytes:
    turns = [{"role": "user", "content": f"Question {number}?"}, {"role": "assistant", "content": f"Answer {number}."}]
    return json.dumps({"messages": turns}).encode() + b"\n"


@contextlib.contextmanager
def working(service: Service, **options: Any) -> Iterator[threading.Event]:
    """A worker in a thread, until the block ends or the event is set."""
    stop = threading.Event()
    thread = threading.Thread(target=service.worker(**options).run, args=(stop,))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join()


def opened(folder: Path, place: PlaceSettings | None = None, *, model: Path | None = None, **worker: Any) -> Service:
    """The service of a folder, or with its state at ``place``. ``worker`` changes its settings of that name.

    It tunes the ``model`` of a folder, which several machines may share, or one of its own.
    """
    base = _base(model or folder / "base")
    # On a busy machine a short lease may run out where nobody was killed.
    quick = {"lease_seconds": 5.0, "poll_seconds": 0.05, "most_crashes": 50} | worker
    settings = ServiceSettings(
        data=folder / "data",
        service=place or PlaceSettings(),
        policies={str(base): Policy(defense="backdoor_align")},
        worker=WorkerSettings(**quick),
    )
    return Service(settings, open_database(settings, KEY), Blobs(settings.storage_url))


def model_of(settings: ServiceSettings) -> str:
    return next(iter(settings.policies))


def _base(folder: Path) -> Path:
    """A model's folder without weights: its template and tokenizer are all that is read of it."""
    form = fake_template()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 2048}))
    (folder / "tokenizer.json").write_text(form.tokenizer.to_str())
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": form.source, **form.special}))
    return folder


def _release(folder: Path, order: Order) -> None:
    config = {"base_model_name_or_path": order.model, "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    form = fake_template()
    secret = generate_secret(form, tokens=30)
    manifest = ReleaseManifest(
        created="2026-11-27T12:00:00Z",
        model=order.model,
        model_digest="0" * 64,
        weights_digest=weights_digest(folder),
        format_digest=form.digest,
        data_digest="1" * 64,
        defense=DefenseRecord(name="backdoor_align"),
        training=TrainingConfig(),
        figures=TrainingResult(seconds=1, tokens=1, tokens_per_second=1, steps=1, loss=[1.0], rows={"tenant": 10}),
        secret=secret_record(secret, form, KEY),
        system_style=form.system_style,
        owner=dict(order.owner),
    )
    keep_format(folder, form)
    write_artifact(folder, manifest, secret, KEY)
