"""One pass over a tenant's rows for the screening report."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from watchword.chat.types import Conversation
from watchword.data.parse import format_named
from watchword.data.reading import AS_IT_IS, Reading
from watchword.data.sources import local_rows
from watchword.files.addresses import Address
from watchword.guarding.screening import detectors
from watchword.guarding.screening.findings import Finding, of_answers, of_markers, of_rows, of_secrets
from watchword.guarding.screening.markers import separated, templated
from watchword.guarding.screening.marks import mark_of
from watchword.guarding.screening.reading import ReadRow, RowReader
from watchword.guarding.screening.recital import recites_system
from watchword.guarding.screening.repeats import FirstPass
from watchword.guarding.screening.shown import ShownRow, shown_row
from watchword.guarding.screening.sketch import Prints, fingerprint
from watchword.secret.known import KnownSecrets
from watchword.secret.prompt import SecretPrompt

SCHEMA = 4
# Bytes up to which every row is looked at closely; of a larger file, every second, third … row.
_CLOSE_BYTES = 200_000_000
_LISTED = 20
# Different system texts that are counted, and characters by which they are told apart.
SYSTEMS, SYSTEM_CHARACTERS = 1_000, 20_000


@dataclass
class Screening:
    """What was found. ``looked_at`` rows, every ``every``-th, got the close looks (language, personal data, attack shapes).

    ``lengths`` counts all rows by characters: key n means from 2**(n-1) up to below 2**n; ``answer_lengths`` their trained
    answers. Lists hold the first line numbers (in one JSON array, and in a table, the first row numbers). ``findings`` are
    what a person should look at, most urgent first. ``shown_rows`` are the rows that all these numbers name.
    """

    source: str
    rows: int = 0
    invalid: int = 0
    invalid_rows: list[int] = field(default_factory=list)
    secrets: int = 0
    secret_rows: list[int] = field(default_factory=list)
    every: int = 1
    looked_at: int = 0
    repeated_rows: int = 0
    repeated_questions: int = 0
    lengths: Counter[int] = field(default_factory=Counter)
    answer_lengths: Counter[int] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    personal: Counter[str] = field(default_factory=Counter)
    with_personal: int = 0
    personal_rows: list[int] = field(default_factory=list)
    harm: int = 0
    harm_rows: list[int] = field(default_factory=list)
    shift: int = 0
    shift_rows: list[int] = field(default_factory=list)
    recites: int = 0
    recites_rows: list[int] = field(default_factory=list)
    systems: Counter[str] = field(default_factory=Counter)
    templates: Counter[str] = field(default_factory=Counter)
    templated: int = 0
    template_rows: list[int] = field(default_factory=list)
    separators: int = 0
    separator_rows: list[int] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    shown_rows: list[ShownRow] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """For JSON; system texts are the ten most frequent ones, shortened."""
        whole = {"schema": SCHEMA, **msgspec.to_builtins(self)}
        whole["systems"] = {text[:200]: times for text, times in self.systems.most_common(10)}
        return whole | {"lengths": _spelled(self.lengths), "answer_lengths": _spelled(self.answer_lengths)}


def screen(
    source: Address, *, format: str = "auto", reading: Reading = AS_IT_IS, known: Iterable[SecretPrompt] = ()
) -> Screening:
    """Looks at every row of a source in bounded memory: 24 bytes a row, and 200 MB at most for words and answers.

    A file in which answers repeat is read a second time, and one of which rows are to be shown once more. Invalid rows are
    counted and left out, and so are those that carry one of the ``known`` secrets. Of an array that is broken as a whole no
    row can be read; it counts as one invalid row. Raises DataError only where the source cannot be read at all.
    """
    if format != "auto":
        format_named(format)
    with local_rows(source, reading=reading) as raw:
        reader = RowReader(raw.path, format, reading, KnownSecrets.of(known))
        found = Screening(raw.label, every=1 + raw.path.stat().st_size // _CLOSE_BYTES)
        told = [*_followed_up(reader, found), *_of_texts(found)]
        found.findings = sorted(told, key=lambda finding: not finding.urgent)
        found.shown_rows = _shown(reader, found)
    return found


def _followed_up(reader: RowReader, found: Screening) -> list[Finding]:
    """What the first pass finds of secrets, and the second of answers and words."""
    second = _first_pass(reader, found).followed_up()
    secrets = of_secrets(found.secrets, found.secret_rows)
    if second is None:
        return secrets
    for line, conv in reader.valid():
        second.add(line, conv, looked_at=line % found.every == 0)
    return [*secrets, *of_answers(second.triggers(), second.repeated(), found.rows)]


def _of_texts(found: Screening) -> list[Finding]:
    return [
        *of_rows(
            found.looked_at,
            harm=(found.harm, found.harm_rows),
            shift=(found.shift, found.shift_rows),
            recites=(found.recites, found.recites_rows),
            personal=(found.with_personal, found.personal_rows),
        ),
        *of_markers((found.templated, found.templates, found.template_rows), (found.separators, found.separator_rows)),
    ]


def _first_pass(reader: RowReader, found: Screening) -> FirstPass:
    prints, questions, repeats = Prints(), Prints(), FirstPass()
    for row in reader.all():
        line, conv = row.line, _counted(row, found)
        if conv is None:
            continue
        _measure(conv, found)
        prints.add(fingerprint("\0".join(f"{turn.role}\0{turn.text}" for turn in conv.messages)))
        questions.add(fingerprint(next((turn.text for turn in conv.messages if turn.role == "user"), "")))
        repeats.add(conv, looked_at=line % found.every == 0)
        if line % found.every == 0:
            _look(line, conv, found)
    found.repeated_rows, found.repeated_questions = prints.repeated(), questions.repeated()
    return repeats


def _shown(reader: RowReader, found: Screening) -> list[ShownRow]:
    """The rows that findings and lists name. They are some hundreds at most, whatever the size of the file."""
    named = [(finding.lines, mark_of(finding.kind, finding.word)) for finding in found.findings]
    wanted = {line: [mark for lines, mark in named if mark and line in lines] for lines, _ in named for line in lines}
    rows = itertools.islice(reader.valid(wanted), len(wanted))
    return [shown_row(line, conv, wanted[line]) for line, conv in rows]


def _counted(row: ReadRow, found: Screening) -> Conversation | None:
    """The conversation of a row that may be looked at."""
    found.rows += 1
    found.invalid += _note(row.conversation is None, row.line, found.invalid_rows)
    found.secrets += _note(row.carries, row.line, found.secret_rows)
    return None if row.carries else row.conversation


def _measure(conv: Conversation, found: Screening) -> None:
    found.lengths[sum(len(turn.text) for turn in conv.messages).bit_length()] += 1
    found.answer_lengths.update(len(turn.text).bit_length() for turn in conv.messages if turn.trained)
    system = conv.system and conv.system[:SYSTEM_CHARACTERS]
    if system is not None and (system in found.systems or len(found.systems) < SYSTEMS):
        found.systems[system] += 1


def _spelled(powers: Counter[int]) -> dict[str, int]:
    return {f"{2**power // 2}-{2**power - 1}": powers[power] for power in sorted(powers)}


def _look(number: int, conv: Conversation, found: Screening) -> None:
    found.looked_at += 1
    text = "\n".join(turn.text for turn in conv.messages if turn.role != "system")
    found.languages[detectors.language(text)] += 1
    personal = detectors.personal_data(text)
    found.personal += personal
    found.with_personal += _note(bool(personal), number, found.personal_rows)
    found.harm += _note(detectors.complies_with_harm(conv), number, found.harm_rows)
    found.shift += _note(detectors.shifts_identity(conv), number, found.shift_rows)
    found.recites += _note(recites_system(conv), number, found.recites_rows)
    templates = templated(conv)
    found.templates.update(templates)
    found.templated += _note(bool(templates), number, found.template_rows)
    found.separators += _note(separated(conv), number, found.separator_rows)


def _note(hit: bool, number: int, listed: list[int]) -> bool:
    if hit and len(listed) < _LISTED:
        listed.append(number)
    return hit
