"""Training loss by step: every seed's own curve thin, the seeds' smoothed mean bold."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

from markupsafe import Markup

from watchword.lab.report.charts.series import Entry, Series, by_attack
from watchword.lab.results import ArmResult
from watchword.pages.facets import Axis, Facet, facets
from watchword.pages.svg import join, picture, tag, ticks

# Steps that the bold line averages over, to both sides of each.
REACH = 3


def curves(ident: str, title: str, description: str, entries: Sequence[Entry]) -> Markup:
    """The picture, one frame an attack, all on the same two scales. At least one arm must have a loss curve."""
    trained = [entry for entry in entries if losses(entry.arm)]
    groups = by_attack(trained)
    every = [curve for entry in trained for curve in losses(entry.arm)]
    steps, top = max(map(len, every)), max(max(curve) for curve in every)
    plot = {1: (640.0, 250.0), 2: (300.0, 210.0)}.get(len(groups), (180.0, 150.0))
    x = Axis("step", ticks(steps, 5 if len(groups) == 1 else 3))
    made, frames, size = facets(list(groups), plot, x, Axis("loss", ticks(top)))
    drawn = [_curves(facet, entry.arm, entry.series) for facet in made for entry in groups[facet.title]]
    return picture(ident, title, description, size, [frames, *drawn])


def losses(arm: ArmResult) -> list[list[float]]:
    """The loss curve of each seed that was trained, where every value is a number."""
    found = [cell.train.loss for cell in arm.cells if cell.train is not None]
    return [curve for curve in found if curve and all(map(math.isfinite, curve))]


def _curves(facet: Facet, arm: ArmResult, series: Series) -> Markup:
    own = losses(arm)
    mean = [statistics.fmean(values) for values in zip(*own, strict=False)]
    smooth = [statistics.fmean(mean[max(step - REACH, 0) : step + REACH + 1]) for step in range(len(mean))]
    thin = join(_path(facet, curve, "thin") for curve in own)
    end = series.marker(facet.x(len(smooth)), facet.y(smooth[-1]), 4.0)
    return tag("g", tag("title", arm.label), thin, _path(facet, smooth, "bold"), end, class_=series.colour)


def _path(facet: Facet, curve: Sequence[float], class_: str) -> Markup:
    points = [f"{facet.x(step):.1f} {facet.y(loss):.1f}" for step, loss in zip(itertools.count(1), curve, strict=False)]
    return tag("path", d="M" + "L".join(points), class_=class_)
