"""Which settings an experiment varies, and the arms that differ in one of them and in nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from watchword.benchmarks.policy import ASR
from watchword.lab.report.charts.series import COLOURS, Series
from watchword.lab.results import ArmResult, named
from watchword.lab.spec import canonical

# What a setting is called, where its own name would not be understood. Any other is called by its field.
NAMES = {
    "defense.safety": "number of safety examples",
    "secret.secret_tokens": "length of the secret, tokens",
    "training.epochs": "number of epochs",
    "training.batch_size": "batch size",
    "training.learning_rate": "learning rate",
    "attack.n": "number of attack examples",
}


@dataclass(frozen=True)
class Curve:
    """The arms of one defense under one attack, by the value of the setting, in order; at least two."""

    attack: str
    series: Series
    points: tuple[tuple[float, ArmResult], ...]


@dataclass(frozen=True)
class Sweep:
    """One setting with the curves over it; ``more`` counts those that were left out, each better than one of its kind."""

    setting: str
    curves: tuple[Curve, ...]
    more: int = 0

    @property
    def name(self) -> str:
        """What the setting is called."""
        return NAMES.get(self.setting, self.setting.replace(".", ": ").replace("_", " "))

    @property
    def values(self) -> list[float]:
        """Every value that was tried, in order."""
        return sorted({value for curve in self.curves for value, _ in curve.points})


def sweeps_of(arms: Sequence[ArmResult]) -> list[Sweep]:
    """One sweep for each setting of numbers that some arms differ in alone."""
    trained = [arm for arm in arms if not arm.aligned]
    settings = dict.fromkeys(key for arm in trained for key, value in arm.settings.items() if _number(value))
    found = [_sweep(setting, trained) for setting in [*NAMES, *(key for key in settings if key not in NAMES)]]
    return [sweep for sweep in found if sweep.curves]


def _sweep(setting: str, arms: Sequence[ArmResult]) -> Sweep:
    curves = _curves(setting, arms)
    if len(curves) <= COLOURS:
        return Sweep(setting, tuple(curves))
    worst: dict[tuple[str, str], Curve] = {}
    for curve in sorted(curves, key=_peak):
        worst[curve.attack, curve.points[0][1].defense] = curve
    kept = [curve for curve in curves if curve in worst.values()]
    numbers = {curve.series.label: number for number, curve in enumerate(kept, start=1)}
    shown = [replace(curve, series=Series(curve.series.label, numbers[curve.series.label])) for curve in kept]
    return Sweep(setting, tuple(shown), len(curves) - len(kept))


def _peak(curve: Curve) -> float:
    """The most that is let through anywhere on the curve."""
    rates = [arm.rate(ASR.name) for _, arm in curve.points]
    return max((rate.value or 0.0 for rate in rates if rate is not None), default=0.0)


def _curves(setting: str, arms: Sequence[ArmResult]) -> list[Curve]:
    groups: dict[bytes, list[ArmResult]] = {}
    for arm in arms:
        if _number(arm.settings.get(setting)):
            groups.setdefault(canonical([arm.attack, arm.defense, _rest(arm, setting)]), []).append(arm)
    alike = [group for group in groups.values() if len(group) > 1]
    # Two groups of one defense differ in something else, and have a series each.
    labels = [_label(group[0], setting, alike) for group in alike]
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels), start=1)}
    return [
        Curve(named(group[0].attack), Series(label, numbers[label]), _points(group, setting))
        for group, label in zip(alike, labels, strict=True)
    ]


def _points(group: Sequence[ArmResult], setting: str) -> tuple[tuple[float, ArmResult], ...]:
    return tuple(sorted(((float(arm.settings[setting]), arm) for arm in group), key=lambda point: point[0]))


def _rest(arm: ArmResult, setting: str) -> list[tuple[str, str]]:
    """All other settings, in words."""
    return sorted((key, str(value)) for key, value in arm.settings.items() if key != setting)


def _label(arm: ArmResult, setting: str, groups: Sequence[Sequence[ArmResult]]) -> str:
    own = dict(_rest(arm, setting))
    others = [
        dict(_rest(group[0], setting))
        for group in groups
        if (group[0].attack, group[0].defense) == (arm.attack, arm.defense)
    ]
    differ = sorted(key for key in own if len({other.get(key) for other in others}) > 1)
    words = ", ".join(f"{key.partition('.')[2]}={own[key]}" for key in differ)
    return f"{named(arm.defense)} ({words})" if words else named(arm.defense)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
