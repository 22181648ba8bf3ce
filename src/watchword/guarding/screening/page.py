"""The screening report as one HTML page that opens anywhere, offline, in light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from watchword.guarding.screening.findings import Finding
from watchword.guarding.screening.screen import Screening

_BAR, _GAP, _LABEL, _WIDTH = 20, 6, 170, 640
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --paper: #fff; --faint: #667; --bar: #3d6fb6; --bad: #b6483d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --paper: #14181f; --faint: #99a; --bar: #7aa5e0; --bad: #e0857a; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 46rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.cards { display: flex; flex-wrap: wrap; gap: 1rem; } .card { flex: 1 1 5rem; border: 1px solid var(--faint); border-radius: 8px;
  padding: .6rem .9rem; } .card b { display: block; font-size: 1.5rem; } .bad b { color: var(--bad); }
svg { max-width: 100%; height: auto; } text { fill: var(--ink); font: 13px system-ui, sans-serif; } rect { fill: var(--bar); }
p, li { color: var(--faint); } li.urgent { color: var(--bad); }
"""


def page(found: Screening) -> str:
    """The whole page."""
    parts = [
        f"<h1>Screening of {escape(found.source)}</h1>",
        _cards(found),
        "<h2>What to look at</h2>",
        _findings(found.findings),
        "<h2>Rows that look like an attack</h2>",
        _attack("answer a request that looks harmful (FJAttack)", found.harm, found.harm_rows, found.looked_at),
        _attack("shift the model's identity", found.shift, found.shift_rows, found.looked_at),
        "<p>These are guesses by word statistics and patterns. They inform; nothing was changed or left out.</p>",
        "<h2>How long are the rows?</h2>",
        bars([(f"up to {2**power - 1}", found.lengths[power]) for power in sorted(found.lengths)], "Characters a row"),
        "<h2>Which languages?</h2>",
        bars(found.languages.most_common(8), "Rows a language"),
        "<h2>Personal data</h2>",
        bars(found.personal.most_common(), "Finds of each kind") if found.personal else "<p>None was found.</p>",
        _rows_line(found.personal_rows),
        "<h2>Most frequent system texts</h2>",
        bars([(text[:18], times) for text, times in found.systems.most_common(8)], "Rows with each system text")
        if found.systems
        else "<p>No row has one.</p>",
    ]
    head = f'<meta charset="utf-8"><title>Screening</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(parts) + "\n</body></html>\n"


def bars(entries: Sequence[tuple[str, int]], title: str) -> str:
    """A bar chart as inline SVG: one row an entry, its count behind the bar."""
    most = max((count for _, count in entries), default=0) or 1
    height = len(entries) * (_BAR + _GAP)
    rows = "".join(_bar(place, label, count, most) for place, (label, count) in enumerate(entries))
    box = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    return f'<svg {box} role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>{rows}</svg>'


def _bar(place: int, label: str, count: int, most: int) -> str:
    top, room = place * (_BAR + _GAP), _WIDTH - _LABEL - 90
    length = max(1.0, room * count / most)
    middle = top + _BAR * 0.7
    return (
        f'<text x="{_LABEL - 8}" y="{middle}" text-anchor="end">{escape(label)}</text>'
        f'<rect x="{_LABEL}" y="{top}" width="{length:.1f}" height="{_BAR}" rx="3"/>'
        f'<text x="{_LABEL + length + 6:.1f}" y="{middle}">{count:,}</text>'
    )


def _cards(found: Screening) -> str:
    triggers = [finding for finding in found.findings if finding.urgent]
    cards = [
        ("rows", found.rows, False),
        ("invalid", found.invalid, found.invalid > 0),
        ("repeated rows", found.repeated_rows, False),
        ("repeated questions", found.repeated_questions, False),
        ("trigger words", len(triggers), bool(triggers)),
        ("attack-like", found.harm + found.shift, found.harm + found.shift > 0),
    ]
    made = (f'<div class="card{" bad" if bad else ""}"><b>{count:,}</b>{label}</div>' for label, count, bad in cards)
    return f'<div class="cards">{"".join(made)}</div>'


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return "<p>No answer repeats, no word decides an answer, and no text was templated before.</p>"
    items = (f"<li{' class=urgent' if found.urgent else ''}>{escape(found.line())}</li>" for found in findings)
    return f"<ul>{''.join(items)}</ul>"


def _attack(what: str, count: int, rows: Iterable[int], looked_at: int) -> str:
    share = f" ({count / looked_at:.1%})" if looked_at else ""
    return f"<p><b>{count:,}</b> of {looked_at:,} rows looked at{share} {escape(what)}.</p>{_rows_line(rows)}"


def _rows_line(rows: Iterable[int]) -> str:
    listed = ", ".join(map(str, rows))
    return f"<p>First lines: {listed}</p>" if listed else ""
