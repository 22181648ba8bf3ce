"""The second pass: a tenant's bytes in their order, and the provider's rows at their places between them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from watchword.chat.types import Conversation
from watchword.data.blocks import READ_ONLY, read_block
from watchword.data.passes import ScannedBlock
from watchword.errors import DataError


@dataclass(frozen=True)
class ProviderRow:
    """A provider's row as it goes to the trainer: the secret stands in it, so it is not shown.

    ``tokens`` is its length; the last answer of a ``cut`` row is trained without its end-of-turn token.
    """

    conversation: Conversation = field(repr=False)
    origin: str
    tokens: int
    trained_tokens: int
    prefixed: bool = False
    cut: bool = False

    def line(self) -> bytes:
        """The row in OpenAI's format, newline included."""
        return msgspec.json.encode(self.conversation) + b"\n"


Piece = bytes | ProviderRow


def interleaved(
    path: Path, scanned: Sequence[ScannedBlock], places: Sequence[int], rows: Sequence[ProviderRow]
) -> Iterator[Piece]:
    """Tenant lines (many at a time) and provider rows in their final order.

    ``places[i]`` is the number of tenant rows before ``rows[i]``. Blank lines are left out; a missing last newline is
    added; nothing else about the tenant's bytes changes.
    """
    before, at = 0, 0
    descriptor = os.open(path, READ_ONLY)
    try:
        for part in scanned:
            data = tenant_lines(descriptor, part)
            last = at
            while last < len(places) and places[last] < before + part.rows:
                last += 1
            yield from _cut(data, [place - before for place in places[at:last]], rows[at:last])
            before, at = before + part.rows, last
    finally:
        os.close(descriptor)
    yield from rows[at:]


def tenant_lines(descriptor: int, part: ScannedBlock) -> bytes:
    """A block's rows, each with its newline; blank lines are left out."""
    data = read_block(descriptor, part.block)
    if not data.endswith(b"\n"):
        data += b"\n"
    if not part.blank_lines:
        return data
    return b"".join(line + b"\n" for line in data.split(b"\n") if line.strip())


def _cut(data: bytes, places: Sequence[int], rows: Sequence[ProviderRow]) -> Iterator[Piece]:
    """The lines of ``data`` with ``rows[i]`` behind the first ``places[i]`` of them."""
    start = stop = passed = 0
    for place, row in zip(places, rows, strict=True):
        while passed < place:
            stop = data.find(b"\n", stop) + 1
            if stop == 0:
                raise DataError("the file changed while it was read; guard it again when nobody writes to it")
            passed += 1
        if stop > start:
            yield data[start:stop]
            start = stop
        yield row
    if start < len(data):
        yield data[start:] if start else data
