"""``watchword guard`` without the command line: the secret, the guarded data, the trainer's settings, the manifest."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from watchword.chat.types import Conversation
from watchword.data.profile import Profile
from watchword.data.reading import AS_IT_IS, Reading
from watchword.defenses.base import DEFENSES, Defense
from watchword.errors import OutputError, UsageError
from watchword.files.addresses import Address, written_before
from watchword.files.locks import locked
from watchword.guarding.clashes import (
    Role,
    check_places,
    check_report_folder,
    refuse_clashes,
    report_roles,
    source_roles,
)
from watchword.guarding.engine import GuardJob, Outcome, guard_file
from watchword.guarding.exporters.base import EXPORTERS, Exporter
from watchword.guarding.known import SUFFIX, known_files, known_secrets
from watchword.guarding.manifest import AlignedRecord, GuardManifest, SecretRecord
from watchword.guarding.placing import Placing, recovered
from watchword.guarding.provider import check_rows_alone, own_safety
from watchword.guarding.records import manifest_of
from watchword.guarding.voice import aligned_model
from watchword.models.digest import model_digest
from watchword.models.facts import ModelFacts, check_length, facts_of, length_limit
from watchword.progress import Step, no_steps
from watchword.secret.generate import generate_secret, secret_ids
from watchword.secret.kinds import check_production
from watchword.secret.prompt import SecretPrompt
from watchword.secret.vault import fingerprint_of, read_secret_file

_FRESH = "the new secret (`secret_file`)"


@dataclass(frozen=True)
class GuardRequest:
    """What to guard, for whom, with what. ``secret_ref`` re-uses a secret; ``secret_file`` is where a new one is kept.

    ``known``: files, or folders of files, of more secrets that no tenant row may carry. ``manifest``: where it goes if
    not beside the data. ``report``: the folder that a screening will be written into afterwards. ``aligned`` names the model
    before fine-tuning, where the defense is to ask it.
    """

    source: Address
    out: Address
    trainer: str
    model: str
    defense: str = "anchored_align"
    arguments: dict[str, Any] = field(default_factory=dict)
    safety: Path | None = None
    seed: int = 0
    secret_file: Path | None = None
    secret_ref: Path | None = None
    known: tuple[Path, ...] = ()
    manifest: Address | None = None
    max_length: int | None = None
    format: str = "auto"
    workers: int = 1
    report: Path | None = None
    aligned: str | None = None
    reading: Reading = AS_IT_IS


def guard_to_files(request: GuardRequest, key: Callable[[], bytes], *, step: Step = no_steps) -> GuardManifest:
    """Guards a file and leaves data, settings, secret and manifest: all of them, or nothing new at all.

    Two runs on one OUT never mix: the second is refused. A run that is killed is taken back by the next one. ``key`` gives
    the provider's key, asked for before any work, and only if there is a secret. Raises what ``engine.guard_file`` raises,
    and UsageError for a wrong request.
    """
    _check(request)
    defense, own = _defense(request)
    _refuse_terminal(request, defense)
    kept_in = _secret_place(request, defense)
    with _alone(request, kept_in) as completed:
        model = facts_of(request.model)
        exporter = EXPORTERS.create(request.trainer)
        _check_name(request, exporter)
        secret = _secret(request, kept_in, model, completed)
        job = _job(request, model, defense, exporter, secret, own, key)
        _check_files(request, job, kept_in)
        if request.aligned is not None:
            job = dataclasses.replace(job, aligned=aligned_model(request.aligned, defense, step))
        record = None
        if secret is not None:
            record = SecretRecord(fingerprint_of(secret, key()), secret.tokens, secret.entropy_bits, str(kept_in))
        return _done(request, job, record, kept_in, step)


@contextlib.contextmanager
def _alone(request: GuardRequest, kept_in: Path | None) -> Iterator[bool]:
    """Nobody else writes OUT, secret or manifest meanwhile, and what a killed run has left of them is taken back.

    True if that run had been completed, but could not say so any more.
    """
    written = _named_places(request)
    if kept_in is not None and request.secret_ref is None:
        written.append((_FRESH, Address(kept_in)))
    refuse_clashes(written, [])
    with contextlib.ExitStack() as held:
        for _, address in written:
            if address.local is not None:
                held.enter_context(locked(address.local))
        yield request.out.local is not None and recovered(request.out.local, keep=request.secret_ref)


def _done(
    request: GuardRequest, job: GuardJob, record: SecretRecord | None, kept_in: Path | None, step: Step
) -> GuardManifest:
    """Does the work; whatever stops it on the way, what is new on disk is taken back."""
    made: list[GuardManifest] = []
    fresh = kept_in if request.secret_ref is None else None
    with Placing(job.out, fresh, job.secret, kept_in) as placing:

        def before_placing(outcome: Outcome, staged: str) -> None:
            placing.place(lambda: _records(request, job, outcome, record, made), staged)

        try:
            guard_file(job, before_writing=placing.before_writing, before_placing=before_placing, step=step)
            placing.done()
        except BaseException as error:
            placing.take_back(error)
            raise
    return made[0]


def _check(request: GuardRequest) -> None:
    if request.secret_file is not None and request.secret_ref is not None:
        raise UsageError(
            "`secret_ref` re-uses a secret and `secret_file` names a place for a new one; give one of the two",
            param="secret_ref",
        )
    check_length(request.max_length)
    out = request.out.local
    if out is not None and out.is_dir():
        raise OutputError(
            "this is a folder; name the file to write, such as guarded.jsonl in it", path=out, param="out"
        )
    if out is not None and out.exists() and not out.is_file():
        raise OutputError(
            "this is no ordinary file and must not be replaced; name a file, or - for standard output",
            path=out,
            param="out",
        )
    check_places(_named_places(request))
    check_report_folder(request.report)


def _named_places(request: GuardRequest) -> list[Role]:
    """What is written wherever the request says, whatever the model and the defense turn out to be."""
    place = _manifest_place(request)
    manifest: list[Role] = [("the manifest (`manifest`)", place)] if place is not None else []
    return [("the guarded data (`out`)", request.out), *manifest]


def _refuse_terminal(request: GuardRequest, defense: Defense) -> None:
    if request.out.is_stream and defense.needs_secret and sys.stdout.isatty():
        raise UsageError(
            "`out=-` would print rows with the secret on this terminal, where it stays to be read; give a file by `out`, or "
            "lead standard output into the trainer's pipe",
            param="out",
        )


def _check_name(request: GuardRequest, exporter: Exporter) -> None:
    """A name that promises what the exporter doesn't write would mislead whoever opens the file."""
    name = Path(request.out.name)
    suffix = name.suffix.lower()
    packed = suffix in (".gz", ".zst", ".bz2", ".xz", ".zip", ".lz4")
    if packed or (suffix in (".parquet", ".arrow") and suffix not in exporter.tables):
        what = " or ".join(("plain JSON lines", *(f"a table ({name})" for name in exporter.tables)))
        raise UsageError(
            f"`out={request.out}` ends in {suffix}, and `trainer={request.trainer}` writes {what}; give a name such as "
            f"{name.with_suffix('').stem or 'guarded'}.jsonl",
            param="out",
        )


def _check_files(request: GuardRequest, job: GuardJob, kept_in: Path | None) -> None:
    """Refuses, before any work, files that would be lost or could not be written. Settings are tried out, too."""
    settings = {} if request.out.is_stream else _settings(job, Profile())
    more: list[Role] = []
    if kept_in is not None and request.secret_ref is None:
        more.append((_FRESH, Address(kept_in)))
    more += [("the trainer's settings", address) for address in settings]
    read = source_roles(request.source)
    read += [("the file of `safety`", Address(request.safety))] if request.safety is not None else []
    read += [("the secret of `secret_ref`", Address(request.secret_ref))] if request.secret_ref is not None else []
    known = known_files((request.source, request.out), request.known)
    read += [("a known secret", Address(path)) for path in known if path.absolute() != (kept_in or Path()).absolute()]
    refuse_clashes([*_named_places(request), *more, *report_roles(request.report)], read)
    check_places(more)


def _settings(job: GuardJob, profile: Profile) -> dict[Address, str]:
    """Address → text of the trainer's settings, together with what must be kept of files that stand there already."""
    made = {}
    for name, text in job.exporter.settings(job.export_plan(profile)).items():
        address = job.out.beside(name)
        old = written_before(address) if job.exporter.shares(name) else None
        made[address] = text if old is None else job.exporter.merged(str(address), text, old)
    return made


def _manifest_place(request: GuardRequest) -> Address | None:
    return request.manifest or (
        None if request.out.is_stream else request.out.beside(f"{request.out.name}.manifest.json")
    )


def _defense(request: GuardRequest) -> tuple[Defense, list[Conversation]]:
    defense = DEFENSES.create(request.defense, **request.arguments)
    check_rows_alone(defense)
    return own_safety(defense, request.safety) if request.safety is not None else (defense, [])


def _secret_place(request: GuardRequest, defense: Defense) -> Path | None:
    """Where the secret is, or will be kept; None for a defense without one."""
    if not defense.needs_secret:
        return None
    return request.secret_ref or request.secret_file or _default_secret_file(request.out)


def _secret(request: GuardRequest, kept_in: Path | None, model: ModelFacts, completed: bool) -> SecretPrompt | None:
    """The secret: an old one, or a new one that stands in no file yet."""
    if kept_in is None:
        return None
    if request.secret_ref is not None:
        secret = read_secret_file(request.secret_ref)
        check_production(secret)
        secret_ids(secret, model.template)
        return secret
    if kept_in.exists():
        whole = (
            f"; {request.out} and all that belongs to it are whole, the run was killed afterwards" if completed else ""
        )
        raise OutputError(
            f"this exists already, and a secret is never overwritten: re-use it with `secret_ref={kept_in}`, or name "
            f"another file by `secret_file`{whole}",
            path=kept_in,
            param="secret_file",
        )
    return generate_secret(model.template)


def _default_secret_file(out: Address) -> Path:
    if out.local is None:
        raise UsageError(
            f"the secret needs a place of its own when the data goes to {out}: name a file by `secret_file`",
            param="secret_file",
        )
    return out.local.with_name(f"{out.name}{SUFFIX}")


def _job(
    request: GuardRequest,
    model: ModelFacts,
    defense: Defense,
    exporter: Exporter,
    secret: SecretPrompt | None,
    own: list[Conversation],
    key: Callable[[], bytes],
) -> GuardJob:
    return GuardJob(
        source=request.source,
        out=request.out,
        model=model,
        defense=defense,
        exporter=exporter,
        max_length=length_limit(request.max_length, model),
        secret=secret,
        known=known_secrets((request.source, request.out), request.known, key),
        own=tuple(own),
        seed=request.seed,
        format=request.format,
        workers=request.workers,
        scratch=_scratch(request.out),
        reading=request.reading,
    )


def _scratch(out: Address) -> Path | None:
    """Where a spooled source waits: beside the output, where there must be room for it anyway."""
    folder = None if out.local is None else out.local.parent
    return folder if folder is not None and folder.is_dir() else None


def _records(
    request: GuardRequest, job: GuardJob, outcome: Outcome, secret: SecretRecord | None, made: list[GuardManifest]
) -> dict[Address, bytes]:
    """Address → bytes of settings and manifest, which stand beside the data; the manifest is left in ``made``, too."""
    settings = {} if request.out.is_stream else _settings(job, outcome.profile)
    names = [] if request.out.is_stream else list(job.exporter.settings(job.export_plan(outcome.profile)))
    aligned = None if request.aligned is None else AlignedRecord(request.aligned, model_digest(request.aligned))
    made.append(manifest_of(job, outcome, secret, request.trainer, request.defense, names, aligned))
    files = {address: text.encode() for address, text in settings.items()}
    if (place := _manifest_place(request)) is not None:
        files[place] = made[0].text()
    return files
