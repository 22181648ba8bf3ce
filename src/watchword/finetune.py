"""A tenant's file → a defended adapter with its manifest and sealed secret: guard, train, seal, in that order.

The command line and the service fine-tune through ``defended``. OUT/work holds an unfinished run, so that it can be
resumed with the same secret; OUT/manifest.json appears last, and nothing is trusted without it.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import itertools
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from watchword.chat.files import read_conversations, replacing
from watchword.chat.format import ChatFormat
from watchword.chat.rowcheck import RowCheck
from watchword.chat.types import Conversation
from watchword.defenses.base import DEFENSES, Defense, DefenseContext, Guarded, guarded
from watchword.errors import DataError, OutputError, SecretCollisionError, UnsealError, UsageError
from watchword.judges.base import refuses
from watchword.models.base import Step, row_limit
from watchword.models.digest import model_digest
from watchword.models.load import LoadedModel, load
from watchword.secret.generate import DEFAULT_TOKENS, generate_secret
from watchword.secret.kinds import check_production
from watchword.secret.prompt import SecretPrompt
from watchword.secret.vault import seal, unseal
from watchword.training.artifact import (
    DefenseRecord,
    Manifest,
    open_secret,
    read_manifest,
    secret_record,
    weights_digest,
    write_artifact,
)
from watchword.training.config import TrainingConfig, TrainingResult
from watchword.training.loop import fine_tune, newest_checkpoint

WORK, UNFINISHED, JOB = "work", "secret.unfinished", "job.json"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to fine-tune, on what, under which defense."""

    model: str
    data: Path
    defense: str
    arguments: dict[str, Any] = {}
    training: TrainingConfig = TrainingConfig()
    secret_tokens: int = DEFAULT_TOKENS


@dataclass(frozen=True)
class Served:
    """A defended model ready to answer: every request goes through ``defense.guard_prompt`` with ``secret``."""

    model: LoadedModel
    defense: Defense
    manifest: Manifest
    secret: SecretPrompt | None = field(default=None, repr=False)


def defended(
    job: Job,
    out: Path,
    *,
    key: bytes,
    secret: SecretPrompt | None = None,
    versions: dict[str, str | int] | None = None,
    resume: bool = False,
    step: Step,
) -> Manifest:
    """Fine-tunes under a defense and leaves weights, sealed secret and manifest in ``out``.

    ``secret`` must be fit for production; None draws one. ``resume`` goes on with an unfinished run of the same job in
    ``out``. Raises DataError for the tenant's file, SecretCollisionError where it holds the secret, and what training
    raises; ``out`` then holds no manifest, and is gone if there is no checkpoint to resume from.
    """
    defense = DEFENSES.create(job.defense, **job.arguments)
    upload, digest = tenant_upload(job.data)
    work = _work_folder(out, resume)
    with _alone(work), _swept(work, resume):
        _same_job(job, digest, work)
        step("loading the model", 0, 1)
        model = load(job.model)
        step("loading the model", 1, 1)
        run = _Run(job, defense, model, model_digest(job.model), digest, out, work, key, resume, step)
        own = run.secret(secret) if defense.needs_secret else None
        if own is not None:
            refuse_collisions(upload, own, job.data)
        check_rows(upload, model.chat_format, row_limit(job.training.max_length, model.context), job.data)
        data = guarded(defense, upload, run.context(own))
        figures = run.train(data, own)
        manifest = run.manifest(data, own, figures, versions or {})
        write_artifact(out, manifest, own, key)
    shutil.rmtree(work, ignore_errors=True)
    return manifest


def opened(folder: Path, *, key: bytes) -> Served:
    """A finished folder as a model that may be served. Fails closed: see ``training.artifact.open_secret``."""
    manifest = read_manifest(folder)
    if model_digest(manifest.model) != manifest.model_digest:
        raise UnsealError(f"{manifest.model} is not the model that {folder} was tuned from any more; restore it")
    model = load(manifest.model, adapter=folder) if manifest.training.method == "lora" else load(folder)
    secret = open_secret(folder, manifest, model.chat_format, key)
    defense = DEFENSES.create(manifest.defense.name, **manifest.defense.arguments)
    if defense.needs_secret and secret is None:
        raise UnsealError(
            f"{folder} was defended by {manifest.defense.name}, and its manifest names no secret; restore it"
        )
    return Served(model, defense, manifest, secret)


def tenant_upload(path: Path) -> tuple[list[Conversation], str]:
    """All rows of a tenant's file, and the digest of the bytes that they were read from.

    Raises DataError, with the line, at the first fault, for a file without rows, and for one that changes meanwhile or
    can be read only once.
    """
    if path.exists() and not path.is_file():
        raise DataError("this is no ordinary file; save the rows in one first", path=path)
    digest = file_digest(path) if path.is_file() else ""
    rows = [conv for _, conv in read_conversations(path)]
    if digest != file_digest(path):
        raise DataError("the file changed while it was read; train on it when nobody writes to it", path=path)
    if not rows:
        raise DataError("the file holds no rows; give at least one conversation with an assistant turn", path=path)
    return rows, digest


def check_rows(rows: Sequence[Conversation], chat_format: ChatFormat, max_length: int, path: Path) -> None:
    """Raises DataError, with line and field, for a row that the model's template does not write whole, or that is too long."""
    check = RowCheck(chat_format, max_length)
    for number, conv in enumerate(rows):
        if (error := check.look(conv).error) is not None:
            line = next(itertools.islice(read_conversations(path), number, None))[0]
            raise error.at(line, path)


def refuse_collisions(rows: Sequence[Conversation], secret: SecretPrompt, path: Path) -> None:
    """Raises SecretCollisionError if a tenant's row holds the secret: a leak, or a tenant who knows it."""
    text = secret.reveal()
    for number, conv in enumerate(rows, start=1):
        if any(text in message.text for message in conv.messages):
            raise SecretCollisionError(
                f"{path}, row {number} holds the secret prompt of this run: it has leaked. Draw another, and find the leak"
            )


def file_digest(path: Path) -> str:
    """SHA-256 of the file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _work_folder(out: Path, resume: bool) -> Path:
    work = out / WORK
    if resume and not work.is_dir():
        raise UsageError(f"there is no unfinished run in {out} to resume; start it without --resume")
    if not resume and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} is not empty; name a new folder, or go on with an unfinished run there by --resume")
    try:
        work.mkdir(parents=True, exist_ok=True)
        (work / ".writable").touch()
        (work / ".writable").unlink()
    except OSError as error:
        raise OutputError(
            f"{out} cannot be written: {error.strerror}; choose a folder with room and write rights"
        ) from error
    return work


@contextlib.contextmanager
def _alone(work: Path) -> Iterator[None]:
    """One process at a time in an unfinished run; the system lets go when a process ends, however it does."""
    with (work / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another process is at work in {work.parent}; wait for it or end it, or name a new folder"
            ) from None
        yield


@contextlib.contextmanager
def _swept(work: Path, resume: bool) -> Iterator[None]:
    """A new run that breaks off before its first checkpoint leaves nothing to resume, so it does not keep the name taken."""
    try:
        yield
    except BaseException:
        if not resume and newest_checkpoint(work) is None:
            shutil.rmtree(work, ignore_errors=True)
            with contextlib.suppress(OSError):
                work.parent.rmdir()
        raise


def _same_job(job: Job, digest: str, work: Path) -> None:
    """Notes what the run is told; raises UsageError where an unfinished run in ``work`` was told something else."""
    told = msgspec.to_builtins(msgspec.structs.replace(job, data=digest))
    told |= told.pop("training")
    with contextlib.suppress(FileNotFoundError):
        before = msgspec.json.decode((work / JOB).read_bytes())
        if different := sorted(name for name in told if before.get(name) != told[name]):
            raise UsageError(
                f"the unfinished run in {work.parent} was started with another {', '.join(different)}; "
                "resume it with the same options and data, or name a new folder"
            )
        return
    with replacing(work / JOB) as stream:
        stream.write(msgspec.json.encode(told))


@dataclass(frozen=True)
class _Run:
    """One run of a job, with what all of its steps need."""

    job: Job
    defense: Defense
    model: LoadedModel
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
        secret = given or generate_secret(self.model.chat_format, tokens=self.job.secret_tokens)
        check_production(secret)
        with replacing(path, mode=0o600) as stream:
            stream.write(seal(secret, self.key, binding))
        return secret

    def _unfinished(self, path: Path, binding: dict[str, str], given: SecretPrompt | None) -> SecretPrompt:
        """The secret that the checkpoints were trained with, and no other."""
        try:
            secret = unseal(path.read_bytes(), self.key, binding)
        except OSError as error:
            raise UnsealError(f"the unfinished run's secret {path} cannot be read; start the training anew") from error
        if given not in (None, secret):
            raise UsageError("the unfinished run has another secret than the one given; leave --secret-file out")
        return secret

    def context(self, secret: SecretPrompt | None) -> DefenseContext:
        """What the defense may use while it guards the upload."""
        training = self.job.training
        return DefenseContext.beside(
            self.model, refuses, secret=secret, max_length=training.max_length, seed=training.seed, step=self.step
        )

    def train(self, data: Guarded, secret: SecretPrompt | None) -> TrainingResult:
        """Trains in ``work`` and moves the weights to serve up into ``out``."""
        _, figures = fine_tune(
            self.model,
            data.rows,
            self.job.training,
            out=self.work,
            secret=secret,
            callbacks=self.defense.training_hooks().callbacks,
            on_progress=lambda done, total: self.step("fine-tuning", done, total),
            resume=self.resume,
        )
        _move_up(self.defense.guard_weights(self.work, self.model), self.out)
        return figures

    def manifest(
        self, data: Guarded, secret: SecretPrompt | None, figures: TrainingResult, versions: dict[str, str | int]
    ) -> Manifest:
        """What the run was, once its weights are in place."""
        job, chat_format = self.job, self.model.chat_format
        return Manifest(
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            model=job.model,
            model_digest=self.model_digest,
            weights_digest=weights_digest(self.out),
            format_digest=chat_format.digest,
            data_digest=self.data_digest,
            defense=DefenseRecord(
                name=job.defense,
                arguments=job.arguments,
                safety_examples=data.safety,
                anchors=data.anchors,
                echoes=data.echoes,
            ),
            training=job.training,
            figures=figures,
            secret=secret_record(secret, chat_format, self.key) if secret else None,
            versions=versions,
        )


def _move_up(weights: Path, out: Path) -> None:
    try:
        for path in weights.iterdir():
            if path.is_file() and path.name not in (UNFINISHED, JOB) and not path.name.startswith("."):
                path.replace(out / path.name)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}") from error
