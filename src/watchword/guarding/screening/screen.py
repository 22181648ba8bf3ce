"""One pass over a tenant's rows for the screening report."""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from watchword.chat.lines import numbered_rows
from watchword.chat.parse import detect_format, format_named, parse_row
from watchword.chat.reading import AS_IT_IS, Reading
from watchword.chat.types import Conversation
from watchword.errors import DataError
from watchword.guarding.screening import looks
from watchword.guarding.sources import local_rows

SCHEMA = 1
# Bytes up to which every row is looked at closely; of a larger file, every second, third … row.
_CLOSE_BYTES = 200_000_000
_LISTED = 20
_SYSTEMS = 1_000


@dataclass
class Screening:
    """What was found. ``looked_at`` rows got the close looks (language, personal data, attack shapes), evenly chosen.

    ``lengths`` counts all rows by characters: key n means from 2**(n-1) up to below 2**n. Lists hold the first row numbers.
    """

    source: str
    rows: int = 0
    invalid: int = 0
    looked_at: int = 0
    repeated_rows: int = 0
    repeated_questions: int = 0
    lengths: Counter[int] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    personal: Counter[str] = field(default_factory=Counter)
    personal_rows: list[int] = field(default_factory=list)
    harm: int = 0
    harm_rows: list[int] = field(default_factory=list)
    shift: int = 0
    shift_rows: list[int] = field(default_factory=list)
    systems: Counter[str] = field(default_factory=Counter)

    def plain(self) -> dict[str, Any]:
        """For JSON; system texts are the ten most frequent ones, shortened."""
        whole = {"schema": SCHEMA, **msgspec.to_builtins(self)}
        whole["systems"] = {text[:200]: times for text, times in self.systems.most_common(10)}
        whole["lengths"] = {f"{2 ** (power - 1)}-{2**power - 1}": self.lengths[power] for power in sorted(self.lengths)}
        return whole


def screen(source: str | Path, *, format: str = "auto", reading: Reading = AS_IT_IS) -> Screening:
    """Looks at every row of a source in constant memory: 16 bytes a row. Invalid rows are counted and left out.

    Of an array that is broken as a whole no row can be read; it counts as one invalid row. Raises DataError only where
    the source cannot be read at all.
    """
    if format != "auto":
        format_named(format)
    with local_rows(source, reading=reading) as raw:
        found = Screening(raw.label)
        every = 1 + raw.path.stat().st_size // _CLOSE_BYTES
        prints, questions = _Prints(), _Prints()
        for number, conv in _rows(raw.path, format, found, reading):
            _count(conv, found)
            prints.add("\0".join(f"{turn.role}\0{turn.text}" for turn in conv.messages))
            questions.add(next((turn.text for turn in conv.messages if turn.role == "user"), ""))
            if number % every == 0:
                _look(number, conv, found)
        found.repeated_rows, found.repeated_questions = prints.repeated(), questions.repeated()
    return found


def _rows(path: Path, format: str, found: Screening, reading: Reading) -> Iterator[tuple[int, Conversation]]:
    for raw in _texts(path, found, reading):
        found.rows += 1
        if format == "auto":
            format = _format_of(raw, reading)
        conv, faults = (None, []) if format == "auto" else parse_row(raw, found.rows, format, reading=reading)
        if conv is None or faults:
            found.invalid += 1
            continue
        yield found.rows, conv


def _texts(path: Path, found: Screening, reading: Reading) -> Iterator[bytes]:
    with path.open("rb") as stream:
        try:
            yield from (raw for _, raw in numbered_rows(stream, path, reading.limits))
        except DataError:
            found.rows += 1
            found.invalid += 1


def _format_of(raw: bytes, reading: Reading) -> str:
    """The format of the first row that has one; until then, still "auto"."""
    try:
        return detect_format(raw, 1, reading=reading)
    except DataError:
        return "auto"


def _count(conv: Conversation, found: Screening) -> None:
    found.lengths[sum(len(turn.text) for turn in conv.messages).bit_length()] += 1
    system = conv.system
    if system is not None and (system in found.systems or len(found.systems) < _SYSTEMS):
        found.systems[system] += 1


def _look(number: int, conv: Conversation, found: Screening) -> None:
    found.looked_at += 1
    text = "\n".join(turn.text for turn in conv.messages if turn.role != "system")
    found.languages[looks.language(text)] += 1
    personal = looks.personal_data(text)
    found.personal += personal
    _note(bool(personal), number, found.personal_rows)
    found.harm += _note(looks.complies_with_harm(conv), number, found.harm_rows)
    found.shift += _note(looks.shifts_identity(conv), number, found.shift_rows)


def _note(hit: bool, number: int, listed: list[int]) -> bool:
    if hit and len(listed) < _LISTED:
        listed.append(number)
    return hit


class _Prints:
    """Fingerprints of texts, 8 bytes each, to count repetitions; two texts share one by chance once in 2**64 pairs."""

    def __init__(self) -> None:
        self._prints = array("Q")

    def add(self, text: str) -> None:
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        self._prints.append(int.from_bytes(digest, sys.byteorder))

    def repeated(self) -> int:
        """How many of the texts had been there before."""
        import numpy as np

        prints = np.frombuffer(self._prints, dtype=np.uint64).copy()
        prints.sort()
        return int((prints[1:] == prints[:-1]).sum())
