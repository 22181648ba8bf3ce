"""SVG elements as escaped text, a linear scale, and the frame that every picture shares."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

# Width in user units of one character of the charts' 13-unit text, on the generous side: no font is measured.
CHARACTER = 6.9
# A picture wider than this is scrolled on a small screen, since its text would be too small to read.
BROAD = 600


def tag(name: str, *children: object, **attributes: Any) -> Markup:
    """One element. Every child and value is escaped; ``class_`` and ``stroke_width`` are spelled as XML wants them."""
    spelled = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    inside = "".join(f' {key}="{escape(_plain(value))}"' for key, value in spelled)
    return Markup(f"<{name}{inside}>{''.join(escape(child) for child in children)}</{name}>")  # noqa: S704


def join(parts: Iterable[Markup]) -> Markup:
    """The parts one after the other."""
    return Markup("").join(parts)


def text(content: object, x: float, y: float, class_: str = "", anchor: str | None = None) -> Markup:
    """Text whose baseline starts (or ends, or is centred) at a point."""
    return tag("text", content, x=x, y=y, class_=class_ or None, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def shortened(label: str, width: float) -> str:
    """The label, cut with an ellipsis where it would not fit in ``width`` user units."""
    room = max(int(width / CHARACTER), 4)
    return label if len(label) <= room else f"{label[: room - 1].rstrip()}…"


def picture(ident: str, title: str, description: str, size: tuple[float, float], body: Iterable[Markup]) -> Markup:
    """A whole picture of ``size`` (width, height) that names and describes itself to a screen reader."""
    width, height = size
    return tag(
        "svg",
        tag("title", title, id=f"{ident}-title"),
        tag("desc", description, id=f"{ident}-desc"),
        join(body),
        xmlns="http://www.w3.org/2000/svg",
        class_="chart broad" if width > BROAD else "chart",
        viewBox=f"0 0 {_plain(width)} {_plain(height)}",
        width=width,
        height=height,
        role="img",
        aria_labelledby=f"{ident}-title {ident}-desc",
    )


@dataclass(frozen=True)
class Scale:
    """Maps ``low`` … ``high`` to ``start`` … ``end`` in a straight line; values beyond are kept at the edge."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def ticks(top: float, about: int = 4) -> list[float]:
    """Round numbers from 0 to ``top`` or just above, in ``about`` steps of 1, 2, 2.5 or 5 times a power of ten."""
    raw = max(top, 1e-9) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9))
    return [step * index for index in range(math.ceil(top / step - 1e-9) + 1)]


def short(value: float) -> str:
    """A number for a scale: ``25``, ``2.5``, ``1,500``, ``20k``, ``1.5M``."""
    if value >= 1e6:
        return f"{value / 1e6:.3g}M"
    if value >= 1e4:
        return f"{value / 1e3:.3g}k"
    return f"{value:,.0f}" if value >= 1e3 else f"{value:g}"


def _plain(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
