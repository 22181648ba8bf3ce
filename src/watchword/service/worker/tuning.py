"""Guards, trains and measures a job with the real model. The one file of the worker that brings torch along."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from watchword.chat.types import TENANT, Conversation, Row
from watchword.data.rows import read_rows
from watchword.data.upload import Upload
from watchword.errors import RowTooLongError, UsageError
from watchword.files.addresses import Address
from watchword.finetune.folder import WORK
from watchword.finetune.launch.base import LAUNCHERS
from watchword.finetune.run import Job, held_out_rows, train_defended
from watchword.models.base import row_limit
from watchword.models.digest import model_digest
from watchword.models.facts import facts_of
from watchword.models.load import load
from watchword.models.loaded import LoadedModel
from watchword.provenance import versions
from watchword.release.artifact import MANIFEST, ReleaseManifest, signed_manifest
from watchword.release.opening import open_release
from watchword.service.crash import crash_point
from watchword.service.gate.base import BaseAnswers, held_out
from watchword.service.gate.inspection import Inspection
from watchword.service.gate.measure import HeldOut
from watchword.service.gate.questions import questions
from watchword.service.gate.telling import requests
from watchword.service.gate.verdict import Verdict
from watchword.service.types.jobs import NewEvent, Stage
from watchword.service.worker.checks import JobRefusedError, too_long_system
from watchword.service.worker.curve import Curve
from watchword.service.worker.hyperparameters import training_of
from watchword.service.worker.messages import Expected, Order, StageBegan, StageEnded, Told
from watchword.service.worker.pipeline import Run, Tell
from watchword.training.base import Trained, Trainer, TrainingTask
from watchword.training.config import TrainingConfig
from watchword.training.events import Cancel, CheckpointSaved, Events, StepDone, TrainingEvent, never, no_events

# Rows that are held out for the gate: a tenth of the file, and no more than it needs for a verdict.
_HELD_OUT, _OF = 8, 10
# Seconds between two words on when the training ends.
_EXPECTED_EVERY = 10.0


class Tuning:
    """The work of one order. The base is loaded once for guarding, for the gate's comparison and for training."""

    def __init__(self, order: Order, tell: Tell, cancel: Cancel) -> None:
        self.order, self.tell, self.cancel = order, tell, cancel
        self.upload = read_rows(Address(order.training_file))
        rows = self.upload.conversations()
        self.rows = len(rows)
        self.held_out = min(_HELD_OUT, self.rows // _OF) if order.policy.gate.enabled else 0
        _, self.unseen = held_out_rows(self.upload, self.held_out)
        system = _usual_system(rows)
        self.questions = questions(order.policy.gate, system)
        self.requests = requests(rows, self.unseen, system)
        self.base = BaseAnswers(order.answers, model_digest(order.model), self._loaded)
        self._model: LoadedModel | None = None
        self._before: list[HeldOut] | None = None

    def tune(self, attempt: int, least_share: float) -> Run:
        """See ``pipeline.Tuner``."""
        with self._lengths_explained():
            return self._tuned(attempt, least_share)

    def inspect(self, run: Run) -> Verdict:
        """See ``pipeline.Tuner``. The release is opened as it will be served, or not at all."""
        with self._lengths_explained():
            before = self._before if self._before is not None else held_out(self._loaded(), self.unseen)
            self._model = None
            served = open_release(run.release, key=self.order.key)
            by = Inspection(self.order.policy.gate, self.questions, self.base, self.unseen, before, self.requests)
            return by.verdict(served)

    def _tuned(self, attempt: int, least_share: float) -> Run:
        out = self.order.folder / ("release" if attempt == 0 else f"repair-{attempt}")
        curve = self._curve(attempt)
        manifest = self._finished(out)
        if manifest is None:
            job = self._job(least_share)
            try:
                manifest = self._trained(job, out, curve)
            except UsageError:
                # Begun under another policy than today's.
                if not (out / WORK).is_dir():
                    raise
                shutil.rmtree(out)
                manifest = self._trained(job, out, curve)
        rows = manifest.figures.rows
        share = 1 - rows.get(TENANT, 0) / sum(rows.values())
        tokens = manifest.figures.trained.get(TENANT, 0)
        return Run(out, manifest.weights_digest, tokens, share, curve.csv())

    @contextlib.contextmanager
    def _lengths_explained(self) -> Iterator[None]:
        """A row of the provider's that a tenant's system text makes too long is a fault of the tenant's file."""
        try:
            yield
        except RowTooLongError as error:
            template = facts_of(self.order.model).template
            fault = too_long_system(self.upload.numbered(), template, self._training().max_length)
            if fault is None:
                raise
            raise JobRefusedError(fault, str(error)) from None

    def _finished(self, out: Path) -> ReleaseManifest | None:
        """The manifest of what an earlier process of this job has finished."""
        return signed_manifest(out, self.order.key) if (out / MANIFEST).exists() and not (out / WORK).exists() else None

    def _trained(self, job: Job, out: Path, curve: Curve) -> ReleaseManifest:
        self.tell(StageBegan(Stage.GUARD))
        if self.held_out:
            told = f"{self.held_out} of {self.rows} rows are held out to evaluate the model, and not trained on"
            self.tell(Told(NewEvent(told)))
        model = self._loaded()
        if self.order.policy.gate.enabled and self._before is None:
            self._before = held_out(model, self.unseen)
            self.base.prepare(model, self.questions)
        # Training changes it.
        self._model = None
        by = LAUNCHERS.create(self.order.launcher, **self.order.launcher_arguments)
        trainer = _Telling(by, self.tell, curve)
        manifest = train_defended(
            job,
            out,
            key=self.order.key,
            versions=versions(),
            resume=(out / WORK).is_dir(),
            trainer=trainer,
            cancel=self.cancel,
            loaded=model,
        )
        self.tell(StageEnded(Stage.TRAIN))
        return manifest

    def _job(self, least_share: float) -> Job:
        order, policy = self.order, self.order.policy
        validation = Address(order.validation_file) if order.validation_file is not None else None
        return Job(
            model=order.model,
            data=Address(order.training_file),
            defense=policy.defense,
            arguments=policy.arguments,
            training=self._training(),
            secret_tokens=policy.secret_tokens,
            least_share=least_share,
            held_out=self.held_out,
            validation=validation,
            owner=dict(order.owner),
        )

    def _training(self) -> TrainingConfig:
        length = row_limit(TrainingConfig().max_length, facts_of(self.order.model).context)
        return training_of(self.order.hyperparameters, self.order.policy, seed=self.order.seed, max_length=length)

    def _curve(self, attempt: int) -> Curve:
        asked = self.order.hyperparameters
        assert asked.batch_size != "auto" and asked.n_epochs != "auto"
        return Curve(
            self.order.folder / f"curve-{attempt}.json",
            rows=self.rows - self.held_out,
            batch_size=asked.batch_size,
            epochs=asked.n_epochs,
            validated=self.order.validation_file is not None,
        )

    def _loaded(self) -> LoadedModel:
        if self._model is None:
            self._model = load(self.order.model)
        return self._model


class _Telling:
    """A trainer whose stage and figures are told. The rows are guarded once it is called."""

    def __init__(self, trainer: Trainer, tell: Tell, curve: Curve) -> None:
        self.trainer, self.tell, self.curve = trainer, tell, curve
        self._started, self._first, self._told = 0.0, 0, 0.0

    @property
    def takes_loaded_models(self) -> bool:
        return self.trainer.takes_loaded_models

    def train(
        self, task: TrainingTask, *, loaded: Any = None, events: Events = no_events, cancel: Cancel = never
    ) -> Trained:
        self.tell(StageEnded(Stage.GUARD))
        crash_point("after_guard")
        self.tell(StageBegan(Stage.TRAIN))

        def hear(event: TrainingEvent) -> None:
            events(event)
            for message in self.curve.hear(event):
                self.tell(message)
            if isinstance(event, StepDone):
                self._expect(event)
            if isinstance(event, CheckpointSaved):
                crash_point("after_checkpoint")

        return self.trainer.train(task, loaded=loaded, events=hear, cancel=cancel)

    def _expect(self, event: StepDone) -> None:
        """When it will have ended, by the speed so far."""
        now = time.monotonic()
        # Behind a checkpoint that workers went on from, steps are done again.
        if not self._first or event.step <= self._first:
            self._first, self._started = event.step, now
        elif now - self._told > _EXPECTED_EVERY:
            self._told = now
            self.tell(Expected((event.total - event.step) * (now - self._started) / (event.step - self._first)))


def _usual_system(rows: Sequence[Conversation]) -> str | None:
    """The tenant's most frequent system text."""
    return Upload.of([Row(row) for row in rows]).systems[0]
