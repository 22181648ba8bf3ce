"""One picture of a page: a question, the finding in a sentence, the picture, and its figures as rows."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Figure:
    """``rows`` are the picture's figures for readers who cannot see it; ``heads`` names their columns.

    ``legend`` pairs the name of each series with its marker.
    """

    ident: str
    question: str
    finding: str
    picture: Markup
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    legend: tuple[tuple[str, Markup], ...] = ()
