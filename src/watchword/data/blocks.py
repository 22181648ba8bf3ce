"""A file of lines as blocks: pieces of whole lines that can be scanned apart and put together again in order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from watchword.errors import DataError

# Bytes. Blocks go to worker processes; chunks are what is decoded at once and should fit the processor's cache.
BLOCK, CHUNK = 1 << 22, 1 << 17
_STEP = 1 << 16


# Windows would end its lines otherwise.
READ_ONLY = os.O_RDONLY | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class Block:
    """``size`` bytes from ``start``; ends with a newline, unless the file ends without one."""

    start: int
    size: int


def blocks(path: Path, *, skip: int = 0, size: int = BLOCK, longest: int | None = None) -> Iterator[Block]:
    """The file from byte ``skip`` on, in blocks of about ``size`` bytes; a line longer than that makes its block longer.

    A line of more than ``longest`` bytes may be cut behind these, and is the last one: nothing has to hold it whole.
    """
    with path.open("rb", buffering=0) as stream:
        total = os.fstat(stream.fileno()).st_size
        start = skip
        while start < total:
            stop = min(start + size, total)
            if stop < total:
                end = total if longest is None else min(total, stop + longest + 1)
                stop = _line_end(stream.fileno(), stop - 1, end)
                if stop == end < total and os.pread(stream.fileno(), 1, stop - 1) != b"\n":
                    yield Block(start, stop - start)
                    return
            yield Block(start, stop - start)
            start = stop


def read_block(descriptor: int, block: Block) -> bytes:
    """The block's bytes. Raises DataError if the file became shorter."""
    data = _read_at(descriptor, block.size, block.start)
    while len(data) < block.size:
        more = _read_at(descriptor, block.size - len(data), block.start + len(data))
        if not more:
            raise DataError("the file became shorter while it was read; guard it again when nobody writes to it")
        data += more
    return data


def chunks(data: bytes, size: int = CHUNK) -> Iterator[bytes]:
    """Whole lines, about ``size`` bytes at a time. The last one may lack its newline."""
    start = 0
    while start < len(data):
        stop = data.find(b"\n", start + size - 1) + 1 or len(data)
        yield data[start:stop]
        start = stop


def _line_end(descriptor: int, at: int, total: int) -> int:
    """Where the line that holds byte ``at`` ends: behind its newline, or at the end of the file."""
    while at < total:
        data = _read_at(descriptor, min(_STEP, total - at), at)
        found = data.find(b"\n")
        if found >= 0:
            return at + found + 1
        at += max(len(data), 1)
    return total


def _read_at(descriptor: int, size: int, start: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, start)
    os.lseek(descriptor, start, os.SEEK_SET)  # Windows; no descriptor here is shared among threads
    return os.read(descriptor, size)
