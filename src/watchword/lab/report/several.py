"""A folder of finished runs: the report of each, one page that leads to them, and one summary.json of all their arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from watchword.benchmarks.over_refusal import OVER_REFUSAL
from watchword.benchmarks.policy import ASR
from watchword.errors import DataError
from watchword.lab.report.charts.series import Entry, entries_of
from watchword.lab.report.figures import main_finding, main_picture, words_of
from watchword.lab.report.page import grouped, models_of, today, write_page
from watchword.lab.report.summary import SCHEMA, summary_of, write_summary
from watchword.lab.report.whole import RESULTS, read_results, write_whole
from watchword.lab.results import ArmResult, arms_of, named
from watchword.pages.elements import Figure
from watchword.pages.environment import render_page
from watchword.provenance import versions


def runs_in(folder: Path) -> dict[str, Path]:
    """The runs that stand in a folder, by the names of their own folders; empty where the folder is a run itself."""
    if not folder.is_dir() or (folder / RESULTS).exists():
        return {}
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{RESULTS}"))}


def write_several(folder: Path, runs: Mapping[str, Path]) -> dict[str, list[str]]:
    """Writes every run's report, and the page and the summary of all; returns what could not be made, by run.

    Raises DataError where a run's results.json is none; the message names it.
    """
    found = {name: read_results(path) for name, path in runs.items()}
    missing = {name: write_whole(runs[name], results) for name, results in found.items()}
    write_summary(folder / "summary.json", summary_of_several(found))
    write_page(folder / "report.html", _page(found))
    return missing


def summary_of_several(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """As ``summary_of`` for each run, in one: every row begins with its ``experiment``."""
    if not runs:
        raise DataError("there are no runs to sum up; `watchword lab run` makes them")
    own = {name: summary_of(results) for name, results in runs.items()}
    return {
        "schema": SCHEMA,
        **{
            part: [{"experiment": name, **row} for name, summary in own.items() for row in summary[part]]
            for part in ("rows", "worst")
        },
    }


@dataclass(frozen=True)
class _Run:
    """One experiment on the page."""

    link: str
    figure: Figure


def _page(runs: Mapping[str, Mapping[str, Any]]) -> str:
    own = {name: grouped(arms_of(results)) for name, results in runs.items()}
    arms = [arm for found in own.values() for arm in found]
    # Of all runs together, so that a defense has the same colour in each picture.
    entries = iter(entries_of(arms))
    shown = [
        _Run(f"{quote(name)}/report.html", _figure(f"run-{number}", named(name), list(islice(entries, len(found)))))
        for number, (name, found) in enumerate(own.items(), start=1)
    ]
    content = {
        "runs": shown,
        "models": models_of(arms),
        "cells": sum(len(arm.cells) for arm in arms),
        "written": today(),
        "version": versions().get("watchword", ""),
    }
    return render_page("watchword.lab.report", "several.html", content)


def _figure(ident: str, heading: str, entries: Sequence[Entry]) -> Figure:
    """Attack success and over-refusal of each arm, as a picture and as a table."""
    arms = [entry.arm for entry in entries]
    heads = ("arm", "seeds", f"{ASR.short}, %", f"{OVER_REFUSAL.short}, %")
    picture = main_picture(entries, heading, ident=ident)
    return Figure(ident, heading, main_finding(arms), picture, heads, tuple(_row(arm) for arm in arms))


def _row(arm: ArmResult) -> tuple[str, ...]:
    seeds = ", ".join(map(str, arm.seeds))
    return (arm.label, seeds, words_of(arm.rate(ASR.name)), words_of(arm.rate(OVER_REFUSAL.name)))
