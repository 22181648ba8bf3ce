"""The screening report as one HTML page that opens anywhere, offline, in light and dark."""

from __future__ import annotations

from dataclasses import dataclass

from watchword.guarding.screening.figures import screening_figures
from watchword.guarding.screening.screen import SYSTEM_CHARACTERS, SYSTEMS, Screening
from watchword.guarding.screening.sections import sections_of
from watchword.guarding.screening.shown import CHARACTERS
from watchword.pages.elements import Card
from watchword.pages.environment import render_page

# System texts that are shown, and the length from which on one is folded.
_SHOWN_SYSTEMS, _LONG = 8, 500


@dataclass(frozen=True)
class SystemText:
    """A system text with the number of its rows. ``folded``: too long to stand open; ``cut``: longer than what is kept."""

    text: str
    rows: int
    folded: bool
    cut: bool


def page(found: Screening) -> str:
    """The whole page."""
    sections = sections_of(found)
    content = {
        "found": found,
        "sections": sections,
        "urgent": [section for section in sections if section.urgent],
        "cards": _cards(found),
        "figures": screening_figures(found),
        "systems": [_system(text, rows) for text, rows in found.systems.most_common(_SHOWN_SYSTEMS)],
        "different": f"{len(found.systems):,}{' or more' if len(found.systems) == SYSTEMS else ''}",
        "characters": CHARACTERS,
        "system_characters": SYSTEM_CHARACTERS,
    }
    return render_page("watchword.guarding.screening", "screening.html", content)


def _system(text: str, rows: int) -> SystemText:
    folded = len(text) > _LONG or text.count("\n") > 8
    return SystemText(text, rows, folded, len(text) == SYSTEM_CHARACTERS)


def _cards(found: Screening) -> list[Card]:
    words = sum(finding.kind == "trigger" for finding in found.findings)
    cards = [
        _card("Rows", found.rows, "in the file"),
        _card("Invalid", found.invalid, "left out", alarming=True),
        _card("Repeated", found.repeated_rows, "rows"),
        _card("Questions", found.repeated_questions, "asked again"),
        _card("Triggers", words, "suspected", alarming=True),
        _card("Attack rows", found.harm + found.shift + found.recites, "suspected", alarming=True),
    ]
    return [*cards, *([_card("Secrets", found.secrets, "rows", alarming=True)] if found.secrets else [])]


def _card(label: str, count: int, caption: str, *, alarming: bool = False) -> Card:
    return Card(label, "c1" if alarming and count else "c0", ((f"{count:,}", caption),))
