"""One pass over a tenant's rows for the screening report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from watchword.chat.types import Conversation
from watchword.data.lines import UTF8_BOM, numbered_rows
from watchword.data.parse import detect_format, format_named, parse_row
from watchword.data.reading import AS_IT_IS, Reading
from watchword.data.sources import local_rows
from watchword.errors import DataError
from watchword.files.addresses import Address
from watchword.guarding.screening import detectors
from watchword.guarding.screening.findings import Finding, of_answers, of_markers
from watchword.guarding.screening.markers import separated, templated
from watchword.guarding.screening.repeats import FirstPass
from watchword.guarding.screening.sketch import Prints, fingerprint

SCHEMA = 2
# Bytes up to which every row is looked at closely; of a larger file, every second, third … row.
_CLOSE_BYTES = 200_000_000
_LISTED = 20
_SYSTEMS = 1_000
# Bytes in which the first character of a file is looked for.
_HEAD = 1 << 16


@dataclass
class Screening:
    """What was found. ``looked_at`` rows got the close looks (language, personal data, attack shapes), evenly chosen.

    ``lengths`` counts all rows by characters: key n means from 2**(n-1) up to below 2**n. Lists hold the first line numbers
    (in one JSON array, and in a table, the first row numbers). ``findings`` are what a person should look at, most urgent first.
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
    templates: Counter[str] = field(default_factory=Counter)
    templated: int = 0
    template_rows: list[int] = field(default_factory=list)
    separators: int = 0
    separator_rows: list[int] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """For JSON; system texts are the ten most frequent ones, shortened."""
        whole = {"schema": SCHEMA, **msgspec.to_builtins(self)}
        whole["systems"] = {text[:200]: times for text, times in self.systems.most_common(10)}
        whole["lengths"] = {f"{2 ** (power - 1)}-{2**power - 1}": self.lengths[power] for power in sorted(self.lengths)}
        return whole


def screen(source: Address, *, format: str = "auto", reading: Reading = AS_IT_IS) -> Screening:
    """Looks at every row of a source in bounded memory: 24 bytes a row, and 200 MB at most for words and answers.

    A file in which answers repeat is read a second time. Invalid rows are counted and left out. Of an array that is broken
    as a whole no row can be read; it counts as one invalid row. Raises DataError only where the source cannot be read at all.
    """
    if format != "auto":
        format_named(format)
    with local_rows(source, reading=reading) as raw:
        found = Screening(raw.label)
        every = 1 + raw.path.stat().st_size // _CLOSE_BYTES
        second = _first_pass(raw.path, format, found, every, reading).followed_up()
        if second is not None:
            for line, conv in _rows(raw.path, format, Screening(raw.label), reading):
                second.add(line, conv, looked_at=line % every == 0)
            found.findings = of_answers(second.triggers(), second.repeated(), found.rows)
        found.findings += of_markers(
            (found.templated, found.templates, found.template_rows), (found.separators, found.separator_rows)
        )
    return found


def _first_pass(path: Path, format: str, found: Screening, every: int, reading: Reading) -> FirstPass:
    prints, questions, repeats = Prints(), Prints(), FirstPass()
    for line, conv in _rows(path, format, found, reading):
        _count(conv, found)
        prints.add(fingerprint("\0".join(f"{turn.role}\0{turn.text}" for turn in conv.messages)))
        questions.add(fingerprint(next((turn.text for turn in conv.messages if turn.role == "user"), "")))
        repeats.add(conv, looked_at=line % every == 0)
        if line % every == 0:
            _look(line, conv, found)
    found.repeated_rows, found.repeated_questions = prints.repeated(), questions.repeated()
    return repeats


def _rows(path: Path, format: str, found: Screening, reading: Reading) -> Iterator[tuple[int, Conversation]]:
    """Each valid row with its line; in one JSON array, whose rows may share a line, with its number."""
    for line, raw in _texts(path, found, reading):
        found.rows += 1
        if format == "auto":
            format = _format_of(raw, reading)
        conv, faults = (None, []) if format == "auto" else parse_row(raw, found.rows, format, reading=reading)
        if conv is None or faults:
            found.invalid += 1
            continue
        yield line or found.rows, conv


def _texts(path: Path, found: Screening, reading: Reading) -> Iterator[tuple[int, bytes]]:
    """Each row with its line; 0 for the rows of an array."""
    with path.open("rb") as stream:
        array = stream.read(_HEAD).removeprefix(UTF8_BOM).lstrip().startswith(b"[")
        stream.seek(0)
        try:
            yield from ((0 if array else line, raw) for line, raw in numbered_rows(stream, path, reading.limits))
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
    found.languages[detectors.language(text)] += 1
    personal = detectors.personal_data(text)
    found.personal += personal
    _note(bool(personal), number, found.personal_rows)
    found.harm += _note(detectors.complies_with_harm(conv), number, found.harm_rows)
    found.shift += _note(detectors.shifts_identity(conv), number, found.shift_rows)
    templates = templated(conv)
    found.templates.update(templates)
    found.templated += _note(bool(templates), number, found.template_rows)
    found.separators += _note(separated(conv), number, found.separator_rows)


def _note(hit: bool, number: int, listed: list[int]) -> bool:
    if hit and len(listed) < _LISTED:
        listed.append(number)
    return hit
