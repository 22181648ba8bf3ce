"""results.json as one HTML file that opens anywhere, offline: a picture a question, every figure, and what they mean."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from watchword.benchmarks._splits import REPORT
from watchword.benchmarks.over_refusal import OVER_REFUSAL
from watchword.benchmarks.policy import ASR
from watchword.files.atomic import replacing
from watchword.files.writing import writing
from watchword.lab.report.charts.series import Entry, entries_of, legend_of
from watchword.lab.report.figures import figures_of, main_picture
from watchword.lab.report.findings import percent_and_part
from watchword.lab.report.worst import worst_settings
from watchword.lab.results import ArmResult, arms_of, shown_metrics, shown_origins
from watchword.pages.elements import Card
from watchword.pages.environment import render_page

# Around the picture that stands alone: it brings its own paper, since it may lie on any background.
MARGIN, TITLE = 24.0, 56.0


def write_report(path: Path | str, results: Mapping[str, Any], *, pages: Mapping[str, str] | None = None) -> None:
    """Writes the page, all or nothing. Raises DataError where these are no results, OutputError from the file system.

    ``pages`` names the page of each cell's answers by the cell's key; the others are not linked to.
    """
    write_page(Path(path), _page("report.html", {**_content(results), "pages": dict(pages or {})}))


def write_picture(path: Path | str, results: Mapping[str, Any]) -> None:
    """Writes one SVG file, all or nothing: attack success and over-refusal of each arm, with intervals. Raises as above."""
    arms = grouped(arms_of(results))
    title = f"Attack success and over-refusal of {models_of(arms)}, percent with 95 % intervals"
    chart = main_picture(entries_of(arms), title)
    write_page(Path(path), _alone(chart, title))


def _content(results: Mapping[str, Any]) -> dict[str, Any]:
    entries = entries_of(grouped(arms_of(results)))
    arms = [entry.arm for entry in entries]
    spec, metrics = results.get("spec", {}), shown_metrics(results)
    return {
        "name": spec.get("name", "results"),
        "model": models_of(arms),
        "heading": _heading(models_of(arms)),
        "spec_json": json.dumps(spec, indent=2, ensure_ascii=False),
        "versions": results.get("versions", {}),
        "arms": arms,
        "attacks": list(dict.fromkeys(arm.attack_label for arm in arms if not arm.aligned)),
        "prompts": _published(arms),
        "seeds": sorted({seed for arm in arms for seed in arm.seeds}),
        "cards": _cards(entries),
        "figures": figures_of(entries, metrics),
        "worst": worst_settings(arms),
        "metrics": metrics,
        "origins": shown_origins(results),
        "written": today(),
    }


def today() -> str:
    """When a page is written, as its readers see it."""
    return dt.datetime.now(dt.UTC).strftime("%d %B %Y")


def models_of(arms: Sequence[ArmResult]) -> str:
    """The names of the arms' models."""
    return ", ".join(dict.fromkeys(cell.model for arm in arms for cell in arm.cells)) or "a model"


def _published(arms: Sequence[ArmResult]) -> str:
    """Which benchmarks asked the packaged prompts for published figures; empty where none did."""
    asked = [cell.cell.evaluation.chosen for arm in arms for cell in arm.cells if cell.cell is not None]
    names = dict.fromkeys(
        name for chosen in asked for name, own in chosen.items() if (own or {}).get("split") == REPORT
    )
    return f"the report split: {', '.join(names)}" if names else ""


def _heading(model: str) -> Markup:
    """The model's name stays in one piece where there is room for it."""
    return Markup("Can fine-tuning break <span>{},</span> and what saves it?").format(model)


def grouped(arms: Sequence[ArmResult]) -> list[ArmResult]:
    """The arms of one attack together, in the order in which attacks first come."""
    order = list(dict.fromkeys(arm.attack_label for arm in arms))
    return sorted(arms, key=lambda arm: order.index(arm.attack_label))


def _cards(entries: Sequence[Entry]) -> list[Card]:
    """The aligned model, then each defense at its worst over the attacks."""
    cards = []
    for series in legend_of(entries):
        own = [entry.arm for entry in entries if entry.series == series]
        figures = (_worst(own, ASR.name, "attack success"), _worst(own, OVER_REFUSAL.name, "over-refusal"))
        cards.append(Card(series.label, series.colour, figures))
    return cards


def _worst(arms: Sequence[ArmResult], metric: str, caption: str) -> tuple[str, str]:
    """The value and its caption, which says of how many answers it tells where some could not be scored."""
    rates = [rate for arm in arms if (rate := arm.rate(metric)) is not None]
    value, part = percent_and_part(max(rates, key=lambda rate: rate.value or 0.0)) if rates else ("–", "")
    return value, f"{caption}{part}"


def _alone(chart: Markup, title: str) -> str:
    """The chart as a file of its own: on paper, with its style, whose variables are written out for plain renderers."""
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', chart)
    width, height = (float(number) for number in size.groups()) if size else (0.0, 0.0)
    whole = {"width": width + 2 * MARGIN, "height": height + TITLE + MARGIN, "margin": MARGIN, "top": TITLE}
    return _page("picture.svg", {"chart": chart, "title": title, "style": _light_style(), **whole})


def _light_style() -> Markup:
    palette, style = (_page(f"pages/{name}.css", {}) for name in ("palette", "chart"))
    light = dict(re.findall(r"(--[\w-]+): ([^;]+);", palette.partition("@media")[0]))
    return Markup(re.sub(r"var\((--[\w-]+)\)", lambda found: light[found[1]], style))  # noqa: S704


def _page(name: str, content: Mapping[str, Any]) -> str:
    return render_page("watchword.lab.report", name, content)


def write_page(path: Path, text: str) -> None:
    """Writes a page, all or nothing, and makes its folder. Raises OutputError."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        stream.write(text.encode())
