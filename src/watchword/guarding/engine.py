"""Guarding one file: look at every row, ask the defense, interleave its rows, write everything down.

It passes over the tenant's file twice and keeps nothing of it in memory. The number of rows must be known before the
provider's rows can be spread evenly. Nothing is written before every row has been found valid.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from watchword.chat.types import Conversation
from watchword.data.passes import WRITING, Scanned, ScanPlan, Workers, result_of, scan_file, worker_pool
from watchword.data.prepared import Prepared, file_state
from watchword.data.profile import Profile
from watchword.data.reading import AS_IT_IS, Reading
from watchword.data.remarks import Remarks
from watchword.data.sources import as_lines, prepared
from watchword.data.upload import sample_places
from watchword.defenses.base import Defense
from watchword.errors import DataError, EmptyFileError
from watchword.files.addresses import Address, target
from watchword.files.digest import HashingWriter, sha256_file
from watchword.guarding.exporters.base import Exporter, ExportPlan, Sink, hosted_name
from watchword.guarding.interleave import ProviderRow, interleaved
from watchword.guarding.placement import places
from watchword.guarding.provider import guard_rows, provider_rows
from watchword.guarding.voice import context_of, rows_at
from watchword.models.base import ChatModel
from watchword.models.facts import ModelFacts
from watchword.progress import Step, no_steps
from watchword.secret.known import collision
from watchword.secret.prompt import SecretPrompt


@dataclass(frozen=True)
class GuardJob:
    """One file to guard. ``max_length`` in tokens; ``own`` are the provider's own safety examples.

    ``known`` are secrets that must not stand in the tenant's rows already; ``secret`` is one of them without saying so.
    ``aligned`` is the model before fine-tuning, for defenses that ask it.
    """

    source: Address
    out: Address
    model: ModelFacts
    defense: Defense
    exporter: Exporter
    max_length: int
    secret: SecretPrompt | None = field(default=None, repr=False)
    known: tuple[SecretPrompt, ...] = field(default=(), repr=False)
    own: tuple[Conversation, ...] = ()
    aligned: ChatModel | None = field(default=None, repr=False)
    seed: int = 0
    format: str = "auto"
    workers: int = 1
    scratch: Path | None = None
    reading: Reading = AS_IT_IS

    def scan_plan(self, first_line: int) -> ScanPlan:
        """What to look for in the tenant's rows."""
        secrets = (*self.known, *([self.secret] if self.secret else []))
        texts = tuple(secret.reveal() for secret in secrets)
        # What was left out by request is gone from these lines already.
        reading = Reading(limits=self.reading.limits)
        return ScanPlan(texts, self.model.template, self.max_length, first_line=first_line, reading=reading)

    def sample_places(self, rows: int) -> list[int]:
        """Which of so many rows (from 0) the aligned model will be asked about; none where it is not."""
        return sample_places(rows) if self.aligned is not None and self.defense.asks_model else []

    def export_plan(self, profile: Profile) -> ExportPlan:
        """What rows and settings are made of, for a tenant's file of this profile."""
        untrained = profile.untrained_rows > 0
        model = self.model
        return ExportPlan(
            Path(self.out.name), model.location, model.template, self.max_length, untrained, hosted_name(model.name)
        )


@dataclass(frozen=True)
class Outcome:
    """What was read and written. Digests are SHA-256 in hex, sizes in bytes."""

    source: Prepared
    profile: Profile
    rows: Sequence[ProviderRow]
    places: Sequence[int]
    source_sha256: str
    sha256: str
    size: int


def guard_file(
    job: GuardJob,
    *,
    before_writing: Callable[[], None] = lambda: None,
    before_placing: Callable[[Outcome, str], None] | None = None,
    step: Step = no_steps,
) -> Outcome:
    """Reads, checks and writes. ``before_writing`` is called once every row was found valid, ``before_placing`` once all
    is written, but stands under another name yet, which it is told.

    Raises DataError at the first fault of the tenant's file, and SecretCollisionError for a row that carries a known
    secret. Raises RowTooLongError for a provider's row beyond the limit, and OutputError. What stood at ``out`` then
    still stands.
    """
    with prepared(job.source, format=job.format, scratch=job.scratch, reading=job.reading) as source:
        plan = job.scan_plan(source.first_line)
        with worker_pool(job.workers, plan) as workers:
            checked = _checked(job, source, plan, workers, step)
            before_writing()
            return _written(job, checked, workers, before_placing, step)


@dataclass(frozen=True)
class _Checked:
    """A source whose every row is valid, as it was when it was looked at, and what goes between its rows."""

    source: Prepared
    state: tuple[int, int, int]
    scanned: Scanned
    rows: Sequence[ProviderRow]
    places: Sequence[int]


def chosen(
    job: GuardJob, profile: Profile, sample: Sequence[Conversation], step: Step = no_steps
) -> tuple[list[ProviderRow], list[int]]:
    """The provider's rows for a file of this profile and ``sample``, and how many tenant rows stand before each."""
    context = context_of(job.aligned, job.model.template, job.secret, job.max_length, job.seed, step)
    wanted = guard_rows(job.defense, profile.upload(sample), context, job.own)
    rows = provider_rows(wanted, job.model.template, job.secret, job.max_length)
    return rows, list(places(profile.rows, len(rows), context.random("places")))


def _checked(job: GuardJob, source: Prepared, plan: ScanPlan, workers: Workers | None, step: Step) -> _Checked:
    state = file_state(source.path)
    scanned = scan_file(source.path, plan, skip=source.skip, workers=workers, step=step)
    refuse(scanned.profile, source, job.reading)
    if scanned.profile.rewritten_rows:
        # Other spellings than OpenAI's: the trainer would not read them as we do.
        source = as_lines(source, "openai", job.reading, rewriting=True)
        return _checked(job, source, plan, workers, step)
    scanned.profile.remarks = file_remarks(source, scanned.profile)
    refuse_empty(scanned.profile, source.label)
    asked = job.sample_places(scanned.profile.rows)
    sample = list(rows_at(source.path, scanned.blocks, asked, source.label))
    return _Checked(source, state, scanned, *chosen(job, scanned.profile, sample, step))


def _written(
    job: GuardJob,
    checked: _Checked,
    workers: Workers | None,
    before_placing: Callable[[Outcome, str], None] | None,
    step: Step,
) -> Outcome:
    source, profile = checked.source, checked.scanned.profile
    later = workers.digest(source.path) if workers is not None and source.digest is None else None
    with target(job.out) as stream, _thread(workers is not None) as beside:
        out = HashingWriter(stream, beside)
        with job.exporter.sink(out, job.export_plan(profile)) as sink:
            _weave(checked, sink, step)
        digest = source.digest or (sha256_file(source.path) if later is None else result_of(later))
        if file_state(source.path) != checked.state:
            raise DataError(
                "the file changed while it was guarded; guard it again when nobody writes to it", path=source.label
            )
        outcome = Outcome(source, profile, checked.rows, checked.places, digest, out.hexdigest(), out.size)
        if before_placing is not None:
            stream.flush()
            before_placing(outcome, stream.name)
    return outcome


def _thread(wanted: bool) -> contextlib.AbstractContextManager[Executor | None]:
    """Where several cores may be used, this process has a thread to hash with while it writes."""
    return ThreadPoolExecutor(1, "hashing") if wanted else contextlib.nullcontext()


def _weave(checked: _Checked, sink: Sink, step: Step) -> None:
    done, total = 0, checked.scanned.profile.size
    for piece in interleaved(checked.source.path, checked.scanned.blocks, checked.places, checked.rows):
        sink.write(piece)
        if isinstance(piece, bytes):
            done += len(piece)
            step(WRITING, done, total)


def refuse(profile: Profile, source: Prepared, reading: Reading) -> None:
    """Raises the first reason for which these rows must not be guarded."""
    for fault in profile.faults:
        raise source.in_source(fault, reading).error(source.label)
    if profile.collisions:
        raise collision(profile.collisions, source.label, "row" if source.converted else "line")


def file_remarks(source: Prepared, profile: Profile) -> Remarks:
    """What is to be said about the source's rows, each once: of rows that were written anew, as they were before."""
    whole = Remarks()
    whole.append(source.remarks)
    if not source.converted:
        whole.append(profile.remarks)
    return whole


def refuse_empty(profile: Profile, label: str) -> None:
    """Raises EmptyFileError for an upload without rows."""
    if not profile.rows:
        raise EmptyFileError("the file has no row; give one JSON object a line", path=label)
