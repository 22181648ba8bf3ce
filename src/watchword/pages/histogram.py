"""How often each length occurs: columns whose bounds double, since lengths run from one to millions."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from watchword.pages.facets import Axis, Facet, facets
from watchword.pages.svg import picture, short, tag, text, ticks

_WIDE, _NARROW, _HEIGHT = 640.0, 300.0, 190.0
# Room for one mark's text below an axis, in user units.
_MARK = 40.0
# So far above the tallest column the axis reaches, that its number keeps clear of the title.
_HEADROOM = 1.15

# Counts by power: key n counts values from 2**(n-1) up to below 2**n, key 0 those that are nothing.
Powers = Mapping[int, int]


def histograms(ident: str, title: str, description: str, found: Mapping[str, Powers], units: tuple[str, str]) -> Markup:
    """The picture, one frame for each of ``found`` by its title. ``units``: what is measured, and what is counted."""
    powers = [power for counts in found.values() for power in counts] or [1]
    first, last = min(powers), max(powers)
    most = max((count for counts in found.values() for count in counts.values()), default=1)
    plot = (_WIDE if len(found) == 1 else _NARROW, _HEIGHT)
    measured, counted = units
    x = Axis(measured, range(first - 1, last + 1), words=_bounds(first, last, plot[0]))
    made, frames, size = facets(list(found), plot, x, Axis(counted, ticks(most * _HEADROOM)))
    drawn = [_columns(facet, found[facet.title], units) for facet in made]
    return picture(ident, title, description, size, [frames, *drawn])


def bounds(power: int) -> str:
    """What a key of ``Powers`` stands for: ``0``, ``1``, ``2–3``, ``4–7`` …"""
    low, high = 2**power // 2, 2**power - 1
    return f"{low:,}" if low >= high else f"{low:,}–{high:,}"


def _bounds(first: int, last: int, width: float) -> list[str]:
    """The columns' bounds in words; of many, every second, third … so that they do not run into each other."""
    every = -(-(last - first + 2) * _MARK // width)
    edges = [2**power if power >= 0 else 0 for power in range(first - 1, last + 1)]
    return [short(edge) if place % every == 0 else "" for place, edge in enumerate(edges)]


def _columns(facet: Facet, counts: Powers, units: tuple[str, str]) -> Markup:
    return tag("g", *(_column(facet, power, counts[power], units) for power in sorted(counts)), class_="bar c3")


def _column(facet: Facet, power: int, count: int, units: tuple[str, str]) -> Markup:
    left, right, top = facet.x(power - 1) + 1, facet.x(power) - 1, facet.y(count)
    hint = tag("title", f"{bounds(power)} {units[0]}: {count:,} {units[1]}")
    height = max(facet.y.start - top, 1.5)
    shape = tag("rect", x=left, y=facet.y.start - height, width=right - left, height=height, rx=2)
    return tag("g", hint, shape, text(short(count), (left + right) / 2, facet.y.start - height - 4, "tick", "middle"))
