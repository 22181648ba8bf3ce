"""What one pass over a tenant's rows leaves behind: counts, frequent system texts, faults, and a few sampled rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from watchword.chat.fault import Fault, add_fault
from watchword.chat.types import Conversation
from watchword.data.remarks import Remarks
from watchword.data.upload import Upload

# Different system texts that are counted; a tenant who writes another one in every row must not fill our memory.
SYSTEMS = 1_000
MAX_FAULTS = 100
# Sampled rows that are held, and their bytes: a few rows of a gigabyte must not fill our memory either.
_SAMPLES, _SAMPLE_BYTES = 1_024, 1 << 25


@dataclass(frozen=True)
class LongRow:
    """A row beyond the length limit: its line (1-based) and its tokens, counted exactly."""

    line: int
    tokens: int


@dataclass
class Profile:
    """Of one block or of a whole file. Lines count from 1 at the beginning of what was scanned.

    ``untrained_rows`` have an assistant turn of weight 0; ``rewritten_rows`` are not written as OpenAI's yet.
    ``collisions`` are lines that carry a known secret. ``dropped`` counts rows by what the model's template leaves out
    of them.
    """

    rows: int = 0
    lines: int = 0
    blank_lines: int = 0
    size: int = 0
    valid_rows: int = 0
    untrained_rows: int = 0
    rewritten_rows: int = 0
    remarks: Remarks = field(default_factory=Remarks)
    systems: Counter[str | None] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    fault_count: int = 0
    collisions: list[int] = field(default_factory=list)
    long_rows: list[LongRow] = field(default_factory=list)
    long_count: int = 0
    samples: list[bytes] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    _parts: int = 0
    _stride: int = 1

    def add_faults(self, faults: Iterable[Fault]) -> None:
        """Counts every fault and keeps the first hundred."""
        for fault in faults:
            self.fault_count += fault.rows
            add_fault(self.faults, fault, MAX_FAULTS)

    def in_source(self, line_of: Callable[[int], int]) -> None:
        """Gives faults and remarks the lines of the source that was scanned."""
        self.faults = [fault.moved(line_of) for fault in self.faults]
        self.remarks = self.remarks.moved(line_of)
        self.collisions = [line_of(line) for line in self.collisions]

    def add_systems(self, systems: Iterable[str | None]) -> None:
        """Counts system texts; beyond a thousand different ones only those seen before."""
        self._count(Counter(systems))

    def _count(self, counts: Counter[str | None]) -> None:
        for text, times in counts.items():
            if text in self.systems or len(self.systems) < SYSTEMS:
                self.systems[text] += times

    def append(self, later: Profile) -> None:
        """Adds what was found in the part of the file right behind this one."""
        self.add_faults(fault.moved(lambda line: line + self.lines) for fault in later.faults)
        self.fault_count += later.fault_count - sum(fault.rows for fault in later.faults)
        self.remarks.append(later.remarks, self.lines)
        self.collisions += [line + self.lines for line in later.collisions[:MAX_FAULTS]]
        self.long_rows += [LongRow(row.line + self.lines, row.tokens) for row in later.long_rows]
        del self.long_rows[MAX_FAULTS:]
        self.long_count += later.long_count
        self._sample(later.samples)
        self.dropped.update(later.dropped)
        self._count(later.systems)
        for name in ("rows", "lines", "blank_lines", "size", "valid_rows", "untrained_rows", "rewritten_rows"):
            setattr(self, name, getattr(self, name) + getattr(later, name))

    def _sample(self, samples: list[bytes]) -> None:
        """Takes rows from every part, then from every second one, and so on: at most about a thousand, evenly."""
        if self._parts % self._stride == 0:
            self.samples += samples
        self._parts += 1
        while len(self.samples) > _SAMPLES or (len(self.samples) > 1 and sum(map(len, self.samples)) > _SAMPLE_BYTES):
            del self.samples[1::2]
            self._stride *= 2

    def upload(self, sample: Sequence[Conversation] = ()) -> Upload:
        """What a defense is told of the tenant's rows; ``sample`` are those that a model at hand may answer."""
        return Upload.counted(self.rows, self.systems, tuple(sample))
