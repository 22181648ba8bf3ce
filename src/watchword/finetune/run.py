"""A tenant's file → a defended adapter with its manifest and sealed secret: guard, train, seal, in that order.

The command line and the service fine-tune through ``train_defended``. OUT/work holds an unfinished run, so that it can
be resumed with the same secret; nobody else may look into it. OUT/work/release is what will be served, complete before
the first file of it moves up into OUT. OUT/manifest.json moves last, and nothing is trusted without it.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec

from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, Row
from watchword.data.reading import AS_IT_IS, Reading
from watchword.data.remarks import Remarks
from watchword.data.rows import TenantRows, read_rows
from watchword.data.upload import evenly
from watchword.defenses.base import DEFENSES, Defense, DefenseContext, Guarded, guarded, overrides
from watchword.errors import UnsealError, UsageError
from watchword.files.addresses import Address
from watchword.files.atomic import replacing
from watchword.files.folders import PRIVATE_FILE
from watchword.finetune.folder import JOB, RELEASE, UNFINISHED, alone, finished, gather, publish, work_folder
from watchword.finetune.guarded_rows import read_guarded, write_guarded
from watchword.finetune.launch.in_process import InProcess
from watchword.judges.base import refuses
from watchword.models.digest import model_digest
from watchword.models.facts import length_limit
from watchword.models.load import load
from watchword.models.loaded import LoadedModel
from watchword.progress import Step, no_steps
from watchword.registry import spelled
from watchword.release.artifact import (
    DefenseRecord,
    ReleaseManifest,
    secret_record,
    weights_digest,
    write_artifact,
)
from watchword.release.chat_format import keep_format
from watchword.secret.generate import DEFAULT_TOKENS, generate_secret
from watchword.secret.kept import kept_secrets
from watchword.secret.kinds import check_production
from watchword.secret.known import KnownSecrets, refuse_carriers
from watchword.secret.prompt import SecretPrompt
from watchword.secret.vault import seal, unseal
from watchword.training.base import Trainer, TrainingTask
from watchword.training.checkpoints import newest_checkpoint
from watchword.training.config import TrainingConfig, TrainingResult
from watchword.training.events import Cancel, Events, StepDone, TrainingEvent, never, no_events
from watchword.training.private import PrivateCheckpoints


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to fine-tune, on what, under which defense. ``data`` is whatever ``data.rows.read_rows`` reads; it is parsed here.

    The provider's rows are at least ``least_share`` of all rows. So many rows of the data are ``held_out`` of the training,
    evenly over the whole (see ``held_out_rows``). The rows of ``validation`` are measured after each epoch.
    ``owner`` is noted in the manifest, and the secret is sealed for it: the service names tenant, model and version.
    """

    model: str
    data: Address | Path | str
    defense: str
    arguments: dict[str, Any] = {}
    training: TrainingConfig = TrainingConfig()
    secret_tokens: int = DEFAULT_TOKENS
    reading: Reading = AS_IT_IS
    least_share: float = 0.0
    held_out: int = 0
    validation: Address | None = None
    owner: dict[str, str] = {}

    def __post_init__(self) -> None:
        if not isinstance(self.data, Address):
            msgspec.structs.force_setattr(self, "data", Address.parse(self.data))

    @property
    def address(self) -> Address:
        """Where the data is."""
        return cast(Address, self.data)


def train_defended(
    job: Job,
    out: Path,
    *,
    key: bytes,
    secret: SecretPrompt | None = None,
    known: Sequence[Path] = (),
    versions: dict[str, str | int] | None = None,
    resume: bool = False,
    step: Step = no_steps,
    remarks: Remarks | None = None,
    trainer: Trainer | None = None,
    events: Events = no_events,
    cancel: Cancel = never,
    loaded: LoadedModel | None = None,
) -> ReleaseManifest:
    """Fine-tunes under a defense and leaves weights, sealed secret and manifest in ``out``.

    ``secret`` must be fit for production; None draws one. ``known`` names files of more secrets, releases, or folders
    of these. No tenant row may carry one of them, or one that is kept beside the data or beside ``out``. ``resume``
    goes on with an unfinished run of the same job in ``out``; ``remarks`` takes what is to be said about the tenant's
    rows. ``trainer`` is one of ``finetune.launch``, by default the one in this process; ``events`` and ``cancel`` are
    for it. ``loaded`` is the job's model where it is in memory already; training may change it.

    Raises DataError for the tenant's file, SecretCollisionError where it holds a known secret, and what training raises.
    Then ``out`` holds no manifest, and is gone if there is no checkpoint to resume from.
    """
    defense = DEFENSES.create(job.defense, **job.arguments)
    # The registry takes two spellings; the manifest has one, and a run is resumed under either.
    job = msgspec.structs.replace(job, defense=spelled(job.defense))
    upload = read_rows(job.address, reading=job.reading, remarks=remarks)
    digest, beside = upload.digest, [path for path in (job.address.local, out) if path is not None]
    others = kept_secrets(beside, known, lambda: key)
    with alone(out, resume), work_folder(out, resume) as work:
        _same_job(job, digest, work)
        if (manifest := finished(out, work, key)) is not None:
            return manifest
        model = loaded or _loaded(job.model, step)
        limit = length_limit(job.training.max_length, model)
        run = _Run(job, defense, model.template, model_digest(job.model), digest, out, work, key, resume, step)
        own = run.secret(secret) if defense.needs_secret else None
        refuse_carriers(upload.numbered(), KnownSecrets.of((*others, own)), str(upload.label), "line")
        upload.check(model.template, limit)
        validation = _validation(job, model.template, limit)
        data = run.guarded(upload, model, own)
        if remarks is not None:
            remarks.count("the defense left these out of the training", data.left_out)
        by = trainer or InProcess()
        loaded = model if by.takes_loaded_models else None
        # Freed before another process loads its own.
        del model
        figures = run.train(data, own, by, loaded, events, cancel, validation)
        manifest = run.manifest(data, own, figures, versions or {})
        keep_format(work / RELEASE, run.template)
        write_artifact(work / RELEASE, manifest, own, key)
        publish(out, work)
    return manifest


def held_out_rows(upload: TenantRows, count: int) -> tuple[list[Conversation], list[Conversation]]:
    """The rows to train on, and ``count`` rows evenly over the upload that are not. At least one row is trained on."""
    rows = upload.conversations()
    places = set(evenly(len(rows), min(count, len(rows) - 1))) if count else set()
    kept = [row for place, row in enumerate(rows) if place not in places]
    return kept, [row for place, row in enumerate(rows) if place in places]


def _loaded(name: str, step: Step) -> LoadedModel:
    step("loading the model", 0, 1)
    model = load(name)
    step("loading the model", 1, 1)
    return model


def _validation(job: Job, template: ChatTemplate, limit: int) -> list[Row]:
    """The rows to measure; without the secret, as the tenant's own rows are trained, so that losses compare."""
    if job.validation is None:
        return []
    rows = read_rows(job.validation, reading=job.reading)
    rows.check(template, limit)
    return [Row(conv) for conv in rows.conversations()]


def _same_job(job: Job, digest: str, work: Path) -> None:
    """Notes what the run is told; raises UsageError where an unfinished run in ``work`` was told something else."""
    # Rows that are measured only change no weight.
    own = msgspec.structs.asdict(job) | {"data": digest, "validation": None}
    told = msgspec.json.decode(msgspec.json.encode(own))
    told |= told.pop("training") | told.pop("reading")
    # A run of an earlier version knows none, and is still to be resumed.
    if not job.owner:
        del told["owner"]
    with contextlib.suppress(FileNotFoundError):
        before = msgspec.json.decode((work / JOB).read_bytes())
        if different := sorted(name for name in told if before.get(name) != told[name]):
            raise UsageError(
                f"the unfinished run in {work.parent} was started with another {', '.join(different)}; "
                "resume it with the same options and data, or name a new folder"
            )
        return
    with replacing(work / JOB, mode=PRIVATE_FILE) as stream:
        stream.write(msgspec.json.encode(told))


@dataclass(frozen=True)
class _Run:
    """One run of a job, with what all of its steps need."""

    job: Job
    defense: Defense
    template: ChatTemplate
    model_digest: str
    data_digest: str
    out: Path
    work: Path
    key: bytes = field(repr=False)
    resume: bool
    step: Step

    def secret(self, given: SecretPrompt | None) -> SecretPrompt:
        """The run's secret, sealed in ``work`` before the first step so that a resumed run trains the same prefix."""
        path, binding = self.work / UNFINISHED, {"unfinished run on": self.data_digest}
        if self.resume and (path.exists() or newest_checkpoint(self.work)):
            return self._unfinished(path, binding, given)
        secret = given or generate_secret(self.template, tokens=self.job.secret_tokens)
        check_production(secret)
        with replacing(path, mode=PRIVATE_FILE) as stream:
            stream.write(seal(secret, self.key, binding))
        return secret

    def _unfinished(self, path: Path, binding: dict[str, str], given: SecretPrompt | None) -> SecretPrompt:
        """The secret that the checkpoints were trained with, and no other."""
        try:
            secret = unseal(path.read_bytes(), self.key, binding)
        except OSError as error:
            raise UnsealError(
                "the unfinished run's secret cannot be read; start the training anew", path=path
            ) from error
        if given not in (None, secret):
            raise UsageError(
                "the unfinished run has another secret than the one given; leave `secret` out", param="secret"
            )
        return secret

    def context(self, model: LoadedModel, secret: SecretPrompt | None) -> DefenseContext:
        """What the defense may use while it guards the upload."""
        training = self.job.training
        return DefenseContext.beside(
            model, refuses, secret=secret, max_length=training.max_length, seed=training.seed, step=self.step
        )

    def guarded(self, upload: TenantRows, model: LoadedModel, secret: SecretPrompt | None) -> Guarded:
        """The rows to train on. A resumed run takes those that it has begun with."""
        if self.resume and (kept := read_guarded(self.work, self.key, self.data_digest)) is not None:
            return kept
        rows, _ = held_out_rows(upload, self.job.held_out)
        data = guarded(self.defense, rows, self.context(model, secret), least_share=self.job.least_share)
        write_guarded(self.work, data, self.key, self.data_digest)
        return data

    def train(
        self,
        data: Guarded,
        secret: SecretPrompt | None,
        trainer: Trainer,
        model: LoadedModel | None,
        events: Events,
        cancel: Cancel,
        validation: Sequence[Row] = (),
    ) -> TrainingResult:
        """Trains in ``work`` and puts the weights to serve into its release."""
        callbacks = (*self.defense.training_hooks().callbacks, PrivateCheckpoints())
        task = TrainingTask(
            self.job.model, data.rows, self.job.training, self.work, secret, callbacks, self.resume, validation
        )

        def tell(event: TrainingEvent) -> None:
            if isinstance(event, StepDone):
                self.step("fine-tuning", event.step, event.total)
            events(event)

        figures = trainer.train(task, loaded=model, events=tell, cancel=cancel).result
        gather(self._guarded_weights(model), self.work)
        return figures

    def _guarded_weights(self, model: LoadedModel | None) -> Path:
        """The folder of the weights to serve; the base is loaded again only for a defense that looks at it."""
        if model is None and overrides(type(self.defense), "guard_weights"):
            model = load(self.job.model)
        return self.defense.guard_weights(self.work, model)

    def manifest(
        self, data: Guarded, secret: SecretPrompt | None, figures: TrainingResult, versions: dict[str, str | int]
    ) -> ReleaseManifest:
        """What the run was, once its weights are in place."""
        job, template = self.job, self.template
        return ReleaseManifest(
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            model=job.model,
            model_digest=self.model_digest,
            weights_digest=weights_digest(self.work / RELEASE),
            format_digest=template.digest,
            data_digest=self.data_digest,
            defense=DefenseRecord(
                name=job.defense,
                arguments=job.arguments,
                added=data.added,
            ),
            training=job.training,
            figures=figures,
            secret=secret_record(secret, template, self.key) if secret else None,
            system_style=template.system_style,
            owner=job.owner or msgspec.UNSET,
            versions=versions,
        )
