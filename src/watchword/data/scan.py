"""One look at every row: valid or not and why, too long or not, carrying a known secret or not."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from pathlib import Path

from watchword.chat.fault import Fault
from watchword.chat.rowcheck import RowCheck
from watchword.data.blocks import READ_ONLY, Block, chunks, read_block
from watchword.data.fast import plain_rows, system_of, untrained
from watchword.data.lengths import LengthLimit
from watchword.data.parse import read_row
from watchword.data.profile import MAX_FAULTS, LongRow, Profile
from watchword.data.reading import AS_IT_IS, Reading
from watchword.secret.known import KnownSecrets

# Fewer lines than this are looked at one by one when they are not all plain.
_FEW = 8
# Rows a block that are sampled to estimate tokens.
_SAMPLES = 64
# A row with tools may have this many times as many tokens as its JSON has bytes, at most (indents, prose around tools).
_TOOL_GROWTH = 8


class Scanner:
    """Scans stretches of JSON lines of one format. ``first_line`` is named where a row has another one.

    Rows beyond ``limit`` are noted; rows that ``check`` refuses are faults.
    """

    def __init__(
        self,
        *,
        secrets: KnownSecrets | None = None,
        limit: LengthLimit | None = None,
        format: str = "openai",
        first_line: int | None = 1,
        reading: Reading = AS_IT_IS,
        check: RowCheck | None = None,
    ) -> None:
        self.secrets, self.limit, self.check = secrets or KnownSecrets(()), limit, check
        self.format, self.first_line, self.reading = format, first_line, reading
        self._plain = format == "openai" and not reading.drops

    def block(self, path: Path, block: Block) -> Profile:
        """The profile of one block of a file."""
        descriptor = os.open(path, READ_ONLY)
        try:
            return self.scan(read_block(descriptor, block))
        finally:
            os.close(descriptor)

    def scan(self, data: bytes) -> Profile:
        """The profile of whole lines; the last newline may be missing."""
        profile = Profile(size=len(data))
        with _collector_paused():
            for chunk in chunks(data):
                whole = chunk if chunk.endswith(b"\n") else chunk + b"\n"
                # A chunk that is no longer than a row may be holds no row that is.
                for lines in self._small(whole, profile) if len(whole) > self.reading.limits.row_bytes else (whole,):
                    self._lengths(lines, profile)
                    self._lines(lines, profile)
        profile.samples = [line for line in _sampled(data) if len(line) <= self.reading.limits.row_bytes]
        return profile

    def _small(self, lines: bytes, profile: Profile) -> Iterator[bytes]:
        """Line by line; one that is longer than a row may be is a fault, and nobody parses or tokenizes it."""
        for line in lines.split(b"\n")[:-1]:
            if len(line.removesuffix(b"\r")) <= self.reading.limits.row_bytes:
                yield line + b"\n"
                continue
            profile.lines += 1
            profile.rows += 1
            profile.add_faults(
                [Fault(self.reading.limits.row_problem, self.reading.limits.row_fix, line=profile.lines)]
            )

    def _lines(self, lines: bytes, profile: Profile) -> None:
        rows = plain_rows(lines) if self._plain else None
        if rows is None or (self.check is not None and not self.check.surely_fine(lines, rows)):
            self._apart(lines, profile)
            return
        if self.secrets.may_stand_in(lines):
            found = (self.secrets.stand_in(turn.content for turn in turns) for turns in rows)
            profile.collisions += [profile.lines + at for at, hit in enumerate(found, start=1) if hit][:MAX_FAULTS]
        profile.add_systems(map(system_of, rows))
        profile.rows += len(rows)
        profile.valid_rows += len(rows)
        profile.untrained_rows += untrained(rows)
        profile.lines += len(rows)

    def _apart(self, lines: bytes, profile: Profile) -> None:
        """Halves lines that are not all plain, so that one odd row does not slow down its neighbours."""
        count = lines.count(b"\n")
        if count <= _FEW or not self._plain or (self.check is not None and self.check.every):
            for line in lines.split(b"\n")[:-1]:
                self._line(line, profile)
            return
        middle = lines.find(b"\n", len(lines) // 2) + 1
        if middle == len(lines):
            middle = lines.rfind(b"\n", 0, len(lines) - 1) + 1
        self._lines(lines[:middle], profile)
        self._lines(lines[middle:], profile)

    def _line(self, raw: bytes, profile: Profile) -> None:
        profile.lines += 1
        if not raw.strip():
            profile.blank_lines += 1
            return
        profile.rows += 1
        found = read_row(raw, profile.lines, self.format, first_line=self.first_line, reading=self.reading)
        conv, faults = found.conversation, found.faults
        if conv is not None and not faults and self.secrets.stand_in_row(conv):
            # Such a row is refused in any case, and no message about it may show what stands in it.
            profile.collisions.append(profile.lines)
            return
        if conv is not None and not faults and self.check is not None:
            looked = self.check.look(conv)
            profile.dropped.update(looked.dropped)
            faults = [found.fault(looked.error, profile.lines)] if looked.error is not None else []
        profile.add_faults(faults)
        if conv is None or faults:
            return
        profile.valid_rows += 1
        profile.rewritten_rows += found.rewritten
        profile.remarks.add(profile.lines, found.remarks)
        profile.untrained_rows += any(turn.weight == 0 for turn in conv.messages)
        profile.add_systems([conv.system])
        if conv.tools or any(turn.tool_calls for turn in conv.messages):
            self._tool_row(raw, profile)

    def _lengths(self, lines: bytes, profile: Profile) -> None:
        """Counts the tokens of those rows that are long enough in bytes to be beyond the limit."""
        if self.limit is None:
            return
        for start, stop in _longer(lines, self.limit.safe_bytes):
            line = profile.lines + lines.count(b"\n", 0, start) + 1
            self._measure(lines[start:stop], line, profile)

    def _tool_row(self, raw: bytes, profile: Profile) -> None:
        """Templates write tools with indents and words of their own, so bytes promise less about such a row's tokens."""
        if self.limit is not None and len(raw) <= self.limit.safe_bytes < len(raw) * _TOOL_GROWTH:
            self._measure(raw, profile.lines, profile)

    def _measure(self, raw: bytes, line: int, profile: Profile) -> None:
        tokens = self.limit.tokens(raw) if self.limit is not None else None
        if tokens is None or self.limit is None or tokens <= self.limit.max_length:
            return
        profile.long_count += 1
        if len(profile.long_rows) < MAX_FAULTS:
            profile.long_rows.append(LongRow(line, tokens))


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Rows make many lists and no cycles; looking for cycles among them takes a tenth of the time."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _longer(lines: bytes, limit: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of lines of more than ``limit`` bytes; skips over shorter ones in strides."""
    at = 0
    while len(lines) - at > limit:
        last = lines.rfind(b"\n", at, at + limit + 1)
        if last >= 0:
            at = last + 1
            continue
        stop = lines.find(b"\n", at)
        yield at, stop
        at = stop + 1


def _sampled(data: bytes) -> Iterator[bytes]:
    """Rows at even distances, each once. One behind any byte is as likely to be short as to be long."""
    last = -1
    for place in range(_SAMPLES):
        at = place * len(data) // _SAMPLES
        start = data.rfind(b"\n", 0, at) + 1 if place == 0 else data.find(b"\n", at) + 1
        stop = data.find(b"\n", start)
        line = data[start:] if stop < 0 else data[start:stop]
        if start > last and line.strip():
            last = start
            yield line
