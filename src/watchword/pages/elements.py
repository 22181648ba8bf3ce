"""What pages are put together from, as the templates in ``parts.html`` take it."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Card:
    """A label and its figures, as pairs of a value and a caption. ``colour`` is a class of chart.css."""

    label: str
    colour: str
    figures: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Figure:
    """A question, the finding in a sentence, and the picture.

    ``rows`` are the picture's figures for readers who cannot see it; ``heads`` names their columns. ``legend`` pairs the
    name of each series with its marker.
    """

    ident: str
    question: str
    finding: str
    picture: Markup
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    legend: tuple[tuple[str, Markup], ...] = ()
