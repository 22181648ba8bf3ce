"""One upload in many files, guarded where many machines can reach them: two rounds, each of one task a shard.

First every shard is scanned. Then the provider's rows and their places are chosen for the whole, as for one file. Then
every shard is written anew with the rows that fall into it. Where an aligned model is asked, a round between fetches
the tenant's rows that it is asked about, and it answers them here. The parts in their order are the bytes that one
process makes of all shards in their order. A part appears whole or not at all, so a task that is lost is simply done
again.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Generic, TypeVar

from watchword import errors
from watchword.chat.types import Conversation
from watchword.data.passes import PackedPlan, Scanned, ScanPlan, scan_file
from watchword.data.prepared import Prepared
from watchword.data.profile import Profile
from watchword.data.reading import AS_IT_IS, Reading
from watchword.data.sources import as_lines, local_rows
from watchword.errors import DataError, EmptyFileError, WatchwordError
from watchword.files.addresses import Address, target
from watchword.files.digest import HashingWriter, sha256_file, sha256_listed
from watchword.guarding.engine import GuardJob, Outcome, chosen, file_remarks, refuse, refuse_empty
from watchword.guarding.exporters.base import EXPORTERS, ExportPlan
from watchword.guarding.interleave import ProviderRow, interleaved
from watchword.guarding.voice import rows_at

T = TypeVar("T")
R = TypeVar("R")
Run = Callable[[Callable[[T], R], Sequence[T]], list[R]]


@dataclass(frozen=True)
class Shard:
    """One file of the upload. ``plan`` holds secrets in the clear: it goes to the machines that do the work."""

    source: Address
    format: str
    plan: PackedPlan = field(repr=False)
    reading: Reading = AS_IT_IS


@dataclass(frozen=True)
class ScannedShard:
    """What a scan found and where, and the digest of what it read (SHA-256, hex)."""

    source: Prepared
    scanned: Scanned
    sha256: str

    def places(self) -> ScannedShard:
        """Without what only the whole upload's profile needs: samples may be megabytes, and tasks travel."""
        return replace(self, scanned=Scanned(blocks=self.scanned.blocks))


@dataclass(frozen=True)
class Pick:
    """Rows of one shard (from 0) that the aligned model is asked about."""

    shard: Shard
    found: ScannedShard
    places: tuple[int, ...]


@dataclass(frozen=True)
class ShardPart:
    """One shard to write anew: the rows that fall into it and how many of its own rows stand before each."""

    shard: Shard
    found: ScannedShard
    exporter: str
    export: tuple[Address, str, int, bool]
    rows: tuple[ProviderRow, ...]
    places: tuple[int, ...]


@dataclass(frozen=True)
class WrittenPart:
    """SHA-256 in hex and size in bytes of a part."""

    out: Address
    sha256: str
    size: int


@dataclass(frozen=True)
class Failure:
    """An error of ours on its way back from another process."""

    kind: str
    problem: str
    param: str | None
    path: str | None
    line: int | None
    field: str | None

    def error(self) -> WatchwordError:
        kind: type[WatchwordError] = getattr(errors, self.kind)
        return kind(self.problem, param=self.param, path=self.path, line=self.line, field=self.field)


def in_turn(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Every task in this process, one after the other."""
    return [function(item) for item in items]


def guard_shards(job: GuardJob, shards: Sequence[Address], trainer: str, *, run: Run = in_turn) -> Outcome:  # type: ignore[type-arg]
    """Guards ``shards`` in this order into the folder ``job.out``, as parts named by number.

    ``run`` does a round of tasks, here or on a cluster. Raises what ``engine.guard_file`` raises; no part is written then.
    Digests in the outcome are over the lines that ``sha256sum`` prints for shards and parts.
    """
    plan = job.scan_plan(1).packed()
    work = [Shard(source, job.format, plan, job.reading) for source in shards]
    scanned = _results(run(_Tried(scan_shard), work))
    whole = Profile()
    for shard in scanned:
        refuse(shard.scanned.profile, shard.source, job.reading)
        whole.append(shard.scanned.profile)
    refuse_empty(whole, str(job.source))
    picks = _picks(job, work, scanned, whole.rows)
    picked = _results(run(_Tried(pick_rows), picks)) if picks else []
    rows, spots = chosen(job, whole, list(chain.from_iterable(picked)))
    written = _results(run(_Tried(write_part), _parts(job, work, scanned, trainer, rows, spots, whole)))
    label = replace(scanned[0].source, label=str(job.source))
    source = sha256_listed((shard.sha256, shard.source.label.rpartition("/")[2]) for shard in scanned)
    parts = sha256_listed((part.sha256, part.out.name) for part in written)
    return Outcome(label, whole, rows, spots, source, parts, sum(part.size for part in written))


def scan_shard(shard: Shard) -> ScannedShard:
    """The first round's task."""
    with _rows(shard) as source:
        plan = replace(ScanPlan.unpacked(shard.plan), first_line=source.first_line)
        lines, scanned = source, scan_file(source.path, plan, skip=source.skip)
        if scanned.profile.rewritten_rows and not scanned.profile.fault_count:
            lines = as_lines(source, "openai", shard.reading, rewriting=True)
            scanned = scan_file(lines.path, plan)
        scanned.profile.remarks = file_remarks(lines, scanned.profile)
        return ScannedShard(lines, scanned, lines.digest or sha256_file(lines.path))


def pick_rows(pick: Pick) -> list[Conversation]:
    """The task of the round between."""
    with _unchanged(pick.shard, pick.found) as source:
        return list(rows_at(source.path, pick.found.scanned.blocks, pick.places, source.label))


def write_part(part: ShardPart) -> WrittenPart:
    """The second round's task."""
    plan = ScanPlan.unpacked(part.shard.plan)
    assert plan.template is not None
    out, location, length, untrained = part.export
    export = ExportPlan(Path(out.name), location, plan.template, length, untrained)
    with _unchanged(part.shard, part.found) as source, target(out) as stream:
        writer = HashingWriter(stream)
        with EXPORTERS.create(part.exporter).sink(writer, export) as sink:
            for piece in interleaved(source.path, part.found.scanned.blocks, part.places, part.rows):
                sink.write(piece)
    return WrittenPart(out, writer.hexdigest(), writer.size)


@contextlib.contextmanager
def _rows(shard: Shard, *, rewriting: bool = False) -> Iterator[Prepared]:
    """The shard as JSON lines; of many shards some may be empty, as clusters write them."""
    with local_rows(shard.source, reading=shard.reading) as raw:
        try:
            source = as_lines(raw, shard.format, shard.reading, rewriting=rewriting)
        except EmptyFileError:
            source = replace(raw, format="openai")
        yield source


@contextlib.contextmanager
def _unchanged(shard: Shard, found: ScannedShard) -> Iterator[Prepared]:
    """The shard again. Raises DataError where its bytes are not those that were scanned."""
    with _rows(shard, rewriting=found.source.converted) as source:
        if (source.digest or sha256_file(source.path)) != found.sha256:
            raise DataError("the file changed while it was guarded; guard it again", path=source.label)
        yield source


def _picks(job: GuardJob, work: Sequence[Shard], scanned: Sequence[ScannedShard], rows: int) -> list[Pick]:
    """The rows of the whole upload that the aligned model is asked about, by shard; shards without any are left out."""
    wanted, before, picks = job.sample_places(rows), 0, []
    for shard, found in zip(work, scanned, strict=True):
        until = before + found.scanned.profile.rows
        places = tuple(place - before for place in wanted if before <= place < until)
        picks += [Pick(shard, found.places(), places)] if places else []
        before = until
    return picks


def _parts(
    job: GuardJob,
    work: Sequence[Shard],
    scanned: Sequence[ScannedShard],
    trainer: str,
    rows: Sequence[ProviderRow],
    spots: Sequence[int],
    whole: Profile,
) -> list[ShardPart]:
    """Each shard with its share: a row before which stand as many as end a shard goes to the next one's beginning."""
    parts, before, taken = [], 0, 0
    suffix = Path(job.out.name).suffix or ".jsonl"
    for number, (shard, found) in enumerate(zip(work, scanned, strict=True)):
        last = number == len(work) - 1
        count = found.scanned.profile.rows
        until = len(spots) if last else bisect_left(spots, before + count)
        out = job.out.below(f"part-{number:05d}-of-{len(work):05d}{suffix}")
        export = (out, job.model.location, job.max_length, whole.untrained_rows > 0)
        places = tuple(place - before for place in spots[taken:until])
        parts.append(ShardPart(shard, found.places(), trainer, export, tuple(rows[taken:until]), places))
        before, taken = before + count, until
    return parts


class _Tried(Generic[T, R]):
    """A task whose errors of ours come back as values; a class, so that it can be pickled."""

    def __init__(self, function: Callable[[T], R]) -> None:
        self.function = function

    def __call__(self, item: T) -> R | Failure:
        try:
            return self.function(item)
        except WatchwordError as error:
            path = None if error.path is None else str(error.path)
            return Failure(type(error).__name__, error.problem, error.param, path, error.line, error.field)


def _results(results: Sequence[R | Failure]) -> list[R]:
    for result in results:
        if isinstance(result, Failure):
            raise result.error()
    return [result for result in results if not isinstance(result, Failure)]
