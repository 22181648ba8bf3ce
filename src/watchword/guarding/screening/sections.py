"""The parts of the screening report that name rows: what was found, what to do about it, and the rows themselves."""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup

from watchword.guarding.screening.findings import Finding
from watchword.guarding.screening.marks import mark_of
from watchword.guarding.screening.screen import Screening
from watchword.guarding.screening.shown import ShownRow, ShownTurn
from watchword.pages.text import visible

_TITLES = {
    "known_secret": "A secret of this provider",
    "trigger": "Words that decide the answer",
    "repeated_answer": "One answer to different prompts",
    "topic_word": "Words that go with one answer",
    "template_text": "Text of a chat template",
    "old_separator": "Separators of the old completions format",
    "harm": "Harmful requests that are answered",
    "shift": "Rows that change who the model is",
    "recites": "Rows that say their own system text",
    "personal": "Personal data",
}
# Roles in whose turns the words are marked that decide an answer.
_ASKING = ("system", "developer", "user", "tool")
# Characters of the line that stands for a folded row.
_PREVIEW = 110
# In a mark, joiners are shown by their codes too: one may be what is marked.
_KEPT = frozenset("\n\t")


@dataclass(frozen=True)
class PageTurn:
    """A turn of a row as it stands on the page."""

    role: str
    said: Markup


@dataclass(frozen=True)
class PageRow:
    """A row as it stands on the page, with the beginning of what was asked in it."""

    line: int
    preview: str
    turns: tuple[PageTurn, ...]
    left_out: int


@dataclass(frozen=True)
class Section:
    """One thing to look at. ``count`` rows are meant, of which ``rows`` are shown."""

    ident: str
    title: str
    what: str
    advice: str
    urgent: bool
    count: int
    lines: tuple[int, ...]
    rows: tuple[PageRow, ...]


def sections_of(found: Screening) -> list[Section]:
    """Everything to look at, most urgent first."""
    shown = {row.line: row for row in found.shown_rows}
    return [_section(f"finding-{number}", finding, shown) for number, finding in enumerate(found.findings, start=1)]


def _section(ident: str, finding: Finding, shown: dict[int, ShownRow]) -> Section:
    mark = mark_of(finding.kind, finding.word)
    rows = tuple(_row(shown[line], mark, bool(finding.word)) for line in finding.lines if line in shown)
    sentence = f"{finding.advice[0].upper()}{finding.advice[1:]}."
    return Section(
        ident,
        _TITLES[finding.kind],
        f"{finding.what}.",
        sentence,
        finding.urgent,
        finding.rows,
        tuple(finding.lines),
        rows,
    )


def _row(row: ShownRow, mark: re.Pattern[str] | None, asked_only: bool) -> PageRow:
    turns = tuple(
        PageTurn(turn.role, _said(turn, None if asked_only and turn.role not in _ASKING else mark))
        for turn in row.turns
    )
    asked = next((turn for turn in row.turns if turn.role == "user"), row.turns[0] if row.turns else None)
    words = " ".join(asked.pieces[0].text[: 4 * _PREVIEW].split()) if asked else ""
    preview = words if len(words) <= _PREVIEW else f"{words[: _PREVIEW - 1]}…"
    return PageRow(row.line, preview, turns, row.left_out)


def _said(turn: ShownTurn, mark: re.Pattern[str] | None) -> Markup:
    """The pieces of a text, with what stands out marked, and what is not shown said."""
    parts, end = list[Markup](), 0
    for piece in turn.pieces:
        parts += [_cut(piece.at - end), marked(piece.text, mark)]
        end = piece.at + len(piece.text)
    return Markup("").join([*parts, _cut(turn.characters - end)])


def _cut(count: int) -> Markup:
    if not count:
        return Markup("")
    return Markup(' <span class="cut">[{:,} characters are not shown]</span> ').format(count)


def marked(text: str, mark: re.Pattern[str] | None) -> Markup:
    """A stranger's text as markup, with every match of ``mark`` marked; in a mark, no character is left invisible."""
    parts, end = list[Markup](), 0
    for found in mark.finditer(text) if mark else ():
        if found.group():
            parts += [
                visible(text[end : found.start()]),
                Markup("<mark>{}</mark>").format(visible(found.group(), _KEPT)),
            ]
            end = found.end()
    return Markup("").join([*parts, visible(text[end:])])
