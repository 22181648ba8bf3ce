"""``watchword guard`` without the command line: the secret, the guarded data, the trainer's settings, the manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from watchword.chat.files import check_writable
from watchword.chat.types import Conversation
from watchword.defenses.base import DEFENSES, Defense
from watchword.errors import OutputError, UsageError
from watchword.guarding.engine import GuardJob, Outcome, guard_file
from watchword.guarding.exporters.base import EXPORTERS, Exporter
from watchword.guarding.known import SUFFIX, known_secrets
from watchword.guarding.manifest import Manifest, SecretRecord
from watchword.guarding.model import ModelFormat, model_format
from watchword.guarding.output import STDOUT, is_local, target, write_beside
from watchword.guarding.passes import no_steps
from watchword.guarding.provider import own_safety
from watchword.guarding.records import manifest_of
from watchword.models.base import Step
from watchword.secret.generate import generate_secret, secret_ids
from watchword.secret.kinds import check_production
from watchword.secret.prompt import SecretPrompt
from watchword.secret.vault import fingerprint_of, read_secret_file, write_secret_file


@dataclass(frozen=True)
class GuardRequest:
    """What to guard, for whom, with what. ``secret_ref`` re-uses a secret; ``secret_file`` is where a new one is kept.

    ``known``: files, or folders of files, of more secrets that no tenant row may carry. ``manifest``: where it goes if
    not beside the data.
    """

    source: str
    out: str
    trainer: str
    model: str
    defense: str = "anchored_align"
    arguments: dict[str, Any] = field(default_factory=dict)
    safety: Path | None = None
    seed: int = 0
    secret_file: Path | None = None
    secret_ref: Path | None = None
    known: tuple[Path, ...] = ()
    manifest: str | None = None
    max_length: int | None = None
    format: str = "auto"
    workers: int = 1


def guard_to_files(request: GuardRequest, key: Callable[[], bytes], *, step: Step = no_steps) -> Manifest:
    """Guards a file and leaves data, settings, secret and manifest, each whole or not at all, the manifest last.

    ``key`` gives the provider's key, asked for only if there is a secret. Raises what ``engine.guard_file`` raises, and
    UsageError for a wrong request; a secret drawn for data that could not be written is taken away again.
    """
    _check(request)
    model = model_format(request.model)
    defense, own = _defense(request)
    exporter = EXPORTERS.create(request.trainer)
    secret, kept_in = _secret(request, defense, model)
    job = _job(request, model, defense, exporter, secret, own)
    drawn = kept_in is not None and request.secret_ref is None
    fresh = _FreshSecret(kept_in if drawn else None, Path(request.out), secret)
    try:
        outcome = guard_file(job, before_writing=fresh.write, step=step)
    except BaseException:
        fresh.take_back()
        raise
    record = None
    if secret is not None:
        record = SecretRecord(fingerprint_of(secret, key()), secret.tokens, secret.entropy_bits, str(kept_in))
    return _records(request, job, outcome, record)


@dataclass
class _FreshSecret:
    """A drawn secret's file: there before the data that needs it, gone if the data was not replaced."""

    path: Path | None
    data: Path
    secret: SecretPrompt | None = field(repr=False)
    before: int | None = None
    written: bool = False

    def write(self) -> None:
        if self.path is not None and self.secret is not None:
            self.before = _inode(self.data)
            write_secret_file(self.path, self.secret)
            self.written = True

    def take_back(self) -> None:
        if self.written and self.path is not None and _inode(self.data) == self.before:
            self.path.unlink(missing_ok=True)


def _inode(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None


def _check(request: GuardRequest) -> None:
    if request.secret_file is not None and request.secret_ref is not None:
        raise UsageError(
            "--secret-ref re-uses a secret and --secret-file names a place for a new one; give one of the two"
        )
    if request.max_length is not None and request.max_length < 1:
        raise UsageError(f"--max-length is {request.max_length}; give the trainer's limit in tokens, such as 2048")
    source, out = Path(request.source), Path(request.out)
    if out.is_dir():
        raise OutputError(f"{out} is a folder; name the file to write, such as {out / 'guarded.jsonl'}")
    if source.exists() and out.exists() and source.samefile(out):
        raise UsageError(f"{out} is the tenant's own file, which must stay as it is; give another name by --out")
    if out.exists() and not out.is_file():
        raise OutputError(f"{out} is no ordinary file and must not be replaced; name a file, or - for standard output")
    for written in (request.out, request.manifest or STDOUT):
        if is_local(written):
            check_writable(Path(written))


def _defense(request: GuardRequest) -> tuple[Defense, list[Conversation]]:
    defense = DEFENSES.create(request.defense, **request.arguments)
    return own_safety(defense, request.safety) if request.safety is not None else (defense, [])


def _secret(request: GuardRequest, defense: Defense, model: ModelFormat) -> tuple[SecretPrompt | None, Path | None]:
    """The secret and where it is kept: an old one, or a new one that stands in no file yet."""
    if not defense.needs_secret:
        return None, None
    if request.secret_ref is not None:
        secret = read_secret_file(request.secret_ref)
        check_production(secret)
        secret_ids(secret, model.chat_format)
        return secret, request.secret_ref
    path = request.secret_file or _default_secret_file(request.out)
    if path.exists():
        raise OutputError(
            f"{path} exists already, and a secret is never overwritten: re-use it with --secret-ref {path}, or name another "
            "file by --secret-file"
        )
    return generate_secret(model.chat_format), path


def _default_secret_file(out: str) -> Path:
    if not is_local(out):
        raise UsageError(
            f"the secret needs a place of its own when the data goes to {out}: name a file by --secret-file"
        )
    return Path(f"{out}{SUFFIX}")


def _job(
    request: GuardRequest,
    model: ModelFormat,
    defense: Defense,
    exporter: Exporter,
    secret: SecretPrompt | None,
    own: list[Conversation],
) -> GuardJob:
    length = request.max_length or model.context
    if length is None:
        raise UsageError(f"{model.name} does not say how long its context is; give the trainer's limit by --max-length")
    return GuardJob(
        source=request.source,
        out=request.out,
        model=model,
        defense=defense,
        exporter=exporter,
        max_length=length,
        secret=secret,
        known=known_secrets((request.source, request.out), request.known),
        own=tuple(own),
        seed=request.seed,
        format=request.format,
        workers=request.workers,
        scratch=_scratch(request.out),
    )


def _scratch(out: str) -> Path | None:
    """Where a spooled source waits: beside the output, where there must be room for it anyway."""
    folder = Path(out).parent
    return folder if is_local(out) and folder.is_dir() else None


def _records(request: GuardRequest, job: GuardJob, outcome: Outcome, secret: SecretRecord | None) -> Manifest:
    """Writes settings and manifest beside the data."""
    settings = {} if request.out == STDOUT else job.exporter.settings(job.export_plan(outcome.profile))
    manifest = manifest_of(job, outcome, secret, request.trainer, request.defense, list(settings), request.arguments)
    if request.out != STDOUT:
        for name, text in settings.items():
            write_beside(request.out, name, text.encode())
    place = request.manifest or (None if request.out == STDOUT else f"{request.out}.manifest.json")
    if place is not None:
        with target(place) as stream:
            stream.write(manifest.text())
    return manifest
