"""summary.json: one row an arm, for machines that want the figures and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from watchword.files.atomic import replacing
from watchword.lab.report.worst import Worst, worst_settings
from watchword.lab.results import ArmResult, Spread, arms_of
from watchword.rates import pooled

SCHEMA = 1


def summary_of(results: Mapping[str, Any]) -> dict[str, Any]:
    """``{"schema": 1, "rows": [...]}``; a row names its arm, and holds every metric by name with interval, n and coverage.

    ``mean`` is the rate over all answers of all seeds; ``over_seeds`` and ``over_secrets`` hold the spread of the parts.
    ``worst`` names the worst setting of each defense under each attack, where several were tried.
    """
    arms = arms_of(results)
    return {
        "schema": SCHEMA,
        "rows": [_row(arm) for arm in arms],
        "worst": [_worst(one) for one in worst_settings(arms)],
    }


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Writes a summary, of one run or of several, all or nothing."""
    with replacing(path) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(summary), indent=1) + b"\n")


def _worst(one: Worst) -> dict[str, Any]:
    training = {key: value for key, value in one.arm.settings.items() if key.startswith("training.")}
    asr = {"mean": one.rate.value, "low": one.rate.low, "high": one.rate.high, "n": one.rate.n}
    named = {"attack": one.arm.attack, "defense": one.arm.defense, "model": one.arm.cells[0].model}
    return {**named, "settings": training, "asr": asr, "tried": one.tried, "left_out": one.useless}


def _row(arm: ArmResult) -> dict[str, Any]:
    first = arm.cells[0]
    return {
        "attack": arm.attack,
        "attack_label": arm.attack_label,
        "defense": arm.defense,
        "defense_label": "" if arm.aligned else arm.defense_label,
        "model": first.model,
        "seeds": list(arm.seeds),
        "secret_seeds": list(arm.secret_seeds),
        "settings": arm.settings,
        "added": first.added,
        **{name: _figure(arm, name) for name in dict.fromkeys(name for cell in arm.cells for name in cell.metrics)},
    }


def _figure(arm: ArmResult, metric: str) -> dict[str, Any]:
    rate = pooled(arm.rates(metric))
    return {
        "mean": rate.value,
        "low": rate.low,
        "high": rate.high,
        "n": rate.n,
        "unscored": rate.unscored,
        "coverage": rate.coverage,
        "over_seeds": _spread(arm.over_seeds(metric)),
        "over_secrets": _spread(arm.over_secrets(metric)),
    }


def _spread(spread: Spread) -> dict[str, Any]:
    return {"values": spread.values, "deviation": spread.deviation}
