"""The pass over a tenant's file, by one process or several; the result is the same, since blocks are put together in order."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

from tokenizers import Tokenizer

from watchword.chat.fault import Fault
from watchword.chat.rowcheck import RowCheck
from watchword.chat.template import ChatTemplate
from watchword.data.blocks import Block, blocks
from watchword.data.lengths import LengthLimit
from watchword.data.profile import Profile
from watchword.data.reading import AS_IT_IS, Reading
from watchword.data.scan import Scanner
from watchword.errors import OutputError, UsageError
from watchword.files.digest import sha256_file
from watchword.progress import Step, no_steps
from watchword.secret.known import KnownSecrets

# Blocks under way for each worker: enough to keep it busy; and results that may wait for a slower one before them.
_AHEAD, _MOST = 2, 32
# What steps in bytes are called.
CHECKING, WRITING = "checking", "writing"
T = TypeVar("T")
PackedFormat = tuple[str, str, dict[str, str], str | None, str]
PackedPlan = tuple[tuple[str, ...], PackedFormat | None, int | None, str, int | None, Reading, bool]


@dataclass(frozen=True)
class ScannedBlock:
    """A block with the number of its rows and of its blank lines."""

    block: Block
    rows: int
    blank_lines: int


@dataclass
class Scanned:
    """A file's profile, and its blocks in order."""

    profile: Profile = field(default_factory=Profile)
    blocks: list[ScannedBlock] = field(default_factory=list)

    def append(self, block: Block, profile: Profile) -> None:
        self.profile.append(profile)
        self.blocks.append(ScannedBlock(block, profile.rows, profile.blank_lines))


@dataclass(frozen=True)
class ScanPlan:
    """What is looked for. ``secrets`` are in the clear; workers get them through a pipe, and they go nowhere else.

    Rows are of this ``format``, and ``first_line`` is named where one is not; None where somebody asked for the format.
    Rows that ``template`` does not write whole are faults. Rows beyond ``max_length`` are noted; with ``every``, each row
    is rendered, and these are faults too.
    """

    secrets: tuple[str, ...] = field(default=(), repr=False)
    template: ChatTemplate | None = None
    max_length: int | None = None
    format: str = "openai"
    first_line: int | None = 1
    reading: Reading = AS_IT_IS
    every: bool = False

    def scanner(self) -> Scanner:
        """A scanner for this process."""
        limit = check = None
        if self.template is not None:
            check = RowCheck(self.template, self.max_length if self.every else None, every=self.every)
        if self.max_length is not None and self.template is not None and not self.every:
            limit = LengthLimit(self.max_length, self.template)
        return Scanner(
            secrets=KnownSecrets(self.secrets),
            limit=limit,
            format=self.format,
            first_line=self.first_line,
            reading=self.reading,
            check=check,
        )

    def packed(self) -> PackedPlan:
        """The plan as plain values, from which a worker makes its own."""
        form = self.template
        packed = None if form is None else _packed(form)
        return self.secrets, packed, self.max_length, self.format, self.first_line, self.reading, self.every

    @classmethod
    def unpacked(cls, packed: PackedPlan) -> ScanPlan:
        """The plan again."""
        secrets, form, limit, format, first_line, reading, every = packed
        template = None if form is None else _unpacked(form)
        return cls(secrets, template, limit, format, first_line, reading, every)


def _packed(form: ChatTemplate) -> PackedFormat:
    tool_use = None if form.tool_use is None else form.tool_use.source
    return form.tokenizer.to_str(), form.source, form.special, tool_use, form.name


def _unpacked(packed: PackedFormat) -> ChatTemplate:
    tokenizer, template, special, tool_use, name = packed
    return ChatTemplate(Tokenizer.from_str(tokenizer), template, special, tool_use=tool_use, name=name)


def scan_file(
    path: Path,
    plan: ScanPlan,
    *,
    skip: int = 0,
    workers: Workers | None = None,
    whole: bool = False,
    step: Step = no_steps,
) -> Scanned:
    """Every row of a file looked at once; stops behind the first block that cannot stay as it is, unless ``whole``."""
    scanned, total = Scanned(), path.stat().st_size - skip
    parts = blocks(path, skip=skip, longest=plan.reading.limits.row_bytes)
    for block, profile in _in_one(path, parts, plan) if workers is None else workers.scan(path, parts):
        scanned.append(block, profile)
        step(CHECKING, scanned.profile.size, total)
        if scanned.profile.rows > plan.reading.limits.rows:
            scanned.profile.add_faults(
                [Fault(plan.reading.limits.rows_problem, f"{plan.reading.limits.rows_fix}; nothing behind it is read")]
            )
            break
        if (profile.fault_count or profile.collisions or profile.rewritten_rows) and not whole:
            break
    return scanned


def _in_one(path: Path, parts: Iterable[Block], plan: ScanPlan) -> Iterator[tuple[Block, Profile]]:
    scanner = plan.scanner()
    for block in parts:
        yield block, scanner.block(path, block)


class Workers:
    """Processes that scan by one plan; this process is one of them, so it has work while the others start."""

    def __init__(self, count: int, plan: ScanPlan) -> None:
        self.others, self._here = count - 1, plan.scanner()
        # Forked children of a process with threads (a trainer's) may hang; spawned ones do not.
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(self.others, spawn, initializer=_start, initargs=(plan.packed(),))

    def scan(self, path: Path, parts: Iterable[Block]) -> Iterator[tuple[Block, Profile]]:
        """(block, profile) in the file's order, whichever is ready first."""
        remaining, waiting = iter(parts), deque[tuple[Block, Future[Profile]]]()
        while True:
            under_way = sum(not future.done() for _, future in waiting)
            for block in islice(remaining, self.others * _AHEAD - under_way):
                waiting.append((block, self._pool.submit(_scan, path, block)))
            ours = None if len(waiting) > _MOST else next(remaining, None)
            if ours is not None:
                waiting.append((ours, _finished(self._here.block(path, ours))))
            if not waiting:
                return
            must_wait = ours is None
            while waiting and (must_wait or waiting[0][1].done()):
                block, future = waiting.popleft()
                yield block, result_of(future)
                must_wait = False

    def digest(self, path: Path) -> Future[str]:
        """The file's SHA-256 in hex, counted in the background."""
        return self._pool.submit(sha256_file, path)

    def close(self) -> None:
        """Ends the processes; what was not begun is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def worker_pool(count: int, plan: ScanPlan) -> Iterator[Workers | None]:
    """A pool of ``count`` processes; None for 1, where this process does it all."""
    if count < 1:
        raise UsageError(f"{count} workers were asked for; give 1 or more", param="workers")
    if count == 1:
        yield None
        return
    pool = Workers(count, plan)
    try:
        yield pool
    finally:
        pool.close()


def result_of(future: Future[T]) -> T:
    """What a worker found. Raises OutputError if it was killed."""
    try:
        return future.result()
    except BrokenProcessPool:
        raise OutputError(
            "a worker process was ended from outside (out of memory?) and nothing was written; run it again, with "
            "`workers=1` if memory is short",
            param="workers",
        ) from None


def _finished(profile: Profile) -> Future[Profile]:
    future: Future[Profile] = Future()
    future.set_result(profile)
    return future


_scanner = Scanner()


def _start(packed: PackedPlan) -> None:
    global _scanner  # noqa: PLW0603 -- a worker process has one scanner for all its blocks
    _scanner = ScanPlan.unpacked(packed).scanner()


def _scan(path: Path, block: Block) -> Profile:
    return _scanner.block(path, block)
