"""Two finished runs, or two defenses of one, prompt by prompt: which arm of the one belongs to which of the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from watchword.benchmarks.base import Exchange, Metric, judged_metrics
from watchword.errors import DataError, UnknownNameError, UsageError
from watchword.judges.base import JUDGES, Verdict
from watchword.lab.paired import Comparison, Pair, compared
from watchword.lab.results import ArmResult, arms_of
from watchword.lab.spec import canonical
from watchword.lab.store import CellResult, Store
from watchword.registry import did_you_mean, spelled

# Verdicts by question, prompt and run of an arm; None where no verdict could be given.
_Run = tuple[int, int | None]
_Verdicts = dict[tuple[str, _Run], bool | None]


class ArmComparison(msgspec.Struct, frozen=True, kw_only=True):
    """One arm of each side on one metric."""

    first: str
    second: str
    metric: str
    comparison: Comparison


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared, and what could not be: both arms and the metric, where no prompt was asked of both with one seed."""

    found: list[ArmComparison]
    skipped: list[tuple[str, str, str]]


class Side:
    """One run: its results, and the answers in its folder."""

    def __init__(self, folder: Path, results: Mapping[str, Any]) -> None:
        self.folder, self.store, self.arms = folder, Store(folder), arms_of(results)

    def of(self, defense: str | None) -> list[ArmResult]:
        """The arms of a defense, or all; the aligned model is among all. Raises UnknownNameError."""
        if defense is None:
            return self.arms
        wanted = spelled(defense)
        found = [arm for arm in self.arms if not arm.aligned and arm.defense == wanted]
        if not found:
            known = sorted({arm.defense for arm in self.arms if not arm.aligned})
            raise UnknownNameError(
                f"no arm in {self.folder} has the defense {defense!r}: {did_you_mean(wanted, known)}it has {', '.join(known)}",
                param="defense",
            )
        return found

    def verdicts(self, arm: ArmResult, metric: Metric) -> _Verdicts:
        """Whether each answer counts. Raises DataError where the answers are not there."""
        judge, found = JUDGES.create(metric.judge or ""), _Verdicts()
        for cell in arm.cells:
            for one in self._answers(cell, arm):
                if one.question in metric.questions:
                    verdict = judge.judge(one.prompt, one.response)
                    hit = verdict.refused == (metric.counts == "refused") if isinstance(verdict, Verdict) else None
                    # By its words as well: two files of prompts may number different ones alike.
                    found[f"{one.question}/{one.id}/{one.prompt}", _run(cell)] = hit
        return found

    def _answers(self, cell: CellResult, arm: ArmResult) -> list[Exchange]:
        found = self.store.answers(cell.key) if cell.key else None
        if found is None:
            raise DataError(
                f"the answers of {arm.label}, seed {cell.seed}, are not there; keep the folder of the cells beside results.json",
                path=self.folder,
            )
        return found


def compare(
    first: Side, second: Side, metrics: Sequence[str], *, defense: str | None = None, against: str | None = None
) -> Compared:
    """Every arm of the first side with the arm of the second that differs from it in nothing but what is compared.

    ``defense`` takes the first side's arms of one defense only, ``against`` those of another on the second side. Raises
    UsageError where no two arms belong together, or were asked the same, UnknownNameError for a metric or a defense that
    there is not.
    """
    known = judged_metrics()
    for name in metrics:
        if spelled(name) not in known:
            raise UnknownNameError(
                f"there is no metric {name!r} that a judge tells: {did_you_mean(name, known)}choose from {', '.join(known)}",
                param="metric",
            )
    pairs = list(_belonging(first.of(defense), second.of(against or defense)))
    if not pairs:
        raise UsageError(
            "no arm of the one belongs to an arm of the other: give runs of the same attacks and settings, or name two "
            "defenses, one of each side"
        )
    found, skipped = list[ArmComparison](), list[tuple[str, str, str]]()
    for name, (a, b) in itertools.product(map(spelled, metrics), pairs):
        own = _compared(first.verdicts(a, known[name]), second.verdicts(b, known[name]))
        if own is None:
            skipped.append((a.label, b.label, name))
        else:
            found.append(ArmComparison(first=a.label, second=b.label, metric=name, comparison=own))
    if not found:
        raise UsageError(
            f"no prompt of {', '.join(metrics)} was asked of both with the same seed and got a verdict from both; give runs of "
            "the same benchmarks and seeds, or name other metrics"
        )
    return Compared(found=found, skipped=skipped)


def _belonging(firsts: Sequence[ArmResult], seconds: Sequence[ArmResult]) -> Iterator[tuple[ArmResult, ArmResult]]:
    """Arms with the same attack and settings, those of the defense apart; of one defense first."""
    for arm in firsts:
        alike = [other for other in seconds if _fixed(other) == _fixed(arm)]
        same = [other for other in alike if other.defense == arm.defense]
        candidates = same or (alike if len({one.defense for one in seconds if not one.aligned}) == 1 else [])
        if candidates:
            # Of several models, secrets or arguments the nearest: its own, where the other side has it.
            yield arm, min(candidates, key=lambda other: _differing(arm, other))


def _fixed(arm: ArmResult) -> bytes:
    """What must be the same: all but the defense, its arguments, and the secret that it brings."""
    own = sorted((key, str(value)) for key, value in arm.settings.items() if key.startswith(("attack.", "training.")))
    return canonical([arm.attack, arm.attack_examples, own])


def _differing(arm: ArmResult, other: ArmResult) -> tuple[int, ...]:
    """In how many settings two arms differ: of the model first, then of the defense, then all."""
    differ = {key for key in arm.settings | other.settings if arm.settings.get(key) != other.settings.get(key)}
    return tuple(sum(key.startswith(kind) for key in differ) for kind in ("model.", "defense.", ""))


def _run(cell: CellResult) -> _Run:
    """The run of an arm: its seed, and that of its secret where secrets were drawn apart."""
    return cell.seed, cell.cell.secret_seed if cell.cell is not None else None


def _compared(first: _Verdicts, second: _Verdicts) -> Comparison | None:
    """None where the two were not asked the same prompts with the same seeds."""
    pairs: dict[str, list[Pair]] = {}
    unpaired = 0
    for (prompt, run), hit in first.items():
        for other in _partners(second, prompt, run):
            if hit is None or other is None:
                unpaired += 1
            else:
                pairs.setdefault(prompt, []).append((hit, other))
    return compared(pairs, unpaired=unpaired) if pairs else None


def _partners(second: _Verdicts, prompt: str, run: _Run) -> list[bool | None]:
    """The other side's verdicts on this prompt in the same run; where only one side has secrets, in every run of the seed."""
    if (prompt, run) in second:
        return [second[prompt, run]]
    seed, secret = run
    return [
        hit
        for (other, (own, secret_of_other)), hit in second.items()
        if (other, own) == (prompt, seed) and None in (secret, secret_of_other)
    ]
