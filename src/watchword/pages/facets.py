"""Small pictures side by side on the same two scales, each with its title: the frame of planes, curves and histograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from watchword.pages.svg import Scale, join, line, short, shortened, tag, text

LEFT, TOP, BETWEEN, FOOT = 46.0, 26.0, 26.0, 44.0


@dataclass(frozen=True)
class Axis:
    """From the first to the last of its marks, with what it measures; ``margin`` is room before the first, in its units.

    ``words`` stand at the marks where the numbers themselves should not.
    """

    title: str
    marks: Sequence[float]
    unit: str = ""
    margin: float = 0.0
    words: Sequence[str] = ()

    def named(self) -> list[tuple[float, str]]:
        """Each mark with what is written at it."""
        words = self.words or [f"{short(mark)}{self.unit}" for mark in self.marks]
        return list(zip(self.marks, words, strict=True))

    def scale(self, start: float, end: float) -> Scale:
        """The axis between two places."""
        return Scale(self.marks[0] - self.margin, self.marks[-1] + self.margin, start, end)


@dataclass(frozen=True)
class Facet:
    """One small picture: its title and its two scales."""

    title: str
    x: Scale
    y: Scale


def facets(
    titles: Sequence[str], plot: tuple[float, float], x: Axis, y: Axis
) -> tuple[list[Facet], Markup, tuple[float, float]]:
    """The facets in rows of at most three, their drawn frames, and the size (width, height) of the whole.

    ``plot`` is the size of one plot without its axes.
    """
    columns, (width, height) = min(len(titles), 3), plot
    across, down = LEFT + width + BETWEEN, TOP + height + FOOT
    made = []
    for index, title in enumerate(titles):
        left, top = index % columns * across + LEFT, index // columns * down + TOP
        made.append(Facet(title, x.scale(left, left + width), y.scale(top + height, top)))
    whole = (columns * across, -(-len(titles) // columns) * down)
    return made, join(_frame(facet, x, y) for facet in made), whole


def _frame(facet: Facet, x: Axis, y: Axis) -> Markup:
    left, right, bottom, top = facet.x.start, facet.x.end, facet.y.start, facet.y.end
    middle = (top + bottom) / 2
    turned = f"rotate(-90 {left - 36:.2f} {middle:.2f})"
    parts = [text(shortened(facet.title, right - left + 20), left, top - 10, "heading")]
    parts += [line(facet.x(m), top, facet.x(m), bottom, "grid") for m in x.marks]
    parts += [line(left, facet.y(m), right, facet.y(m), "grid") for m in y.marks]
    parts += [text(word, facet.x(m), bottom + 16, "tick", "middle") for m, word in x.named()]
    parts += [text(word, left - 6, facet.y(m) + 4, "tick", "end") for m, word in y.named()]
    parts.append(text(x.title, (left + right) / 2, bottom + 34, "small", "middle"))
    parts.append(tag("text", y.title, x=left - 36, y=middle, class_="small", text_anchor="middle", transform=turned))
    return join(parts)
