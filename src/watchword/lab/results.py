"""results.json: what it holds, how it is written, and how its cells are gathered into arms for tables and reports."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from watchword.attacks.base import ATTACKS
from watchword.benchmarks.base import Metric, registered_metrics
from watchword.chat.origins import RowOrigin, in_order
from watchword.chat.types import TENANT
from watchword.defenses.base import registered_origins
from watchword.errors import DataError, UsageError
from watchword.files.atomic import replacing
from watchword.files.writing import writing
from watchword.lab.labels import arguments_of_cell
from watchword.lab.spec import NO_ATTACK, Spec, canonical
from watchword.lab.store import SCHEMA, CellResult, TrainFigures
from watchword.provenance import versions
from watchword.rates import DECIMALS, Rate, pooled

T = TypeVar("T")

# Names that are spelled otherwise than their identifiers; any other name is read off its identifier.
SPELLED = {"fj_attack": "FJAttack", "backdoor_align": "BackdoorAlign", "none": "No defense"}


def results_of(spec: Spec, cells: Sequence[CellResult]) -> dict[str, Any]:
    """What results.json holds, as plain data: the spec, this machine's versions, and every cell in the spec's order.

    It also has the headings of metrics and row origins in the cells. So a report can be made where the package that brought
    one is not installed.
    """
    measured = {name for cell in cells for name in cell.metrics}
    metrics = [metric for name, metric in registered_metrics().items() if name in measured]
    added = {name for cell in cells for name in cell.added}
    origins = [origin for name, origin in registered_origins().items() if name in added]
    whole = {
        "schema": SCHEMA,
        "spec": spec,
        "versions": versions(),
        "cells": list(cells),
        "metrics": metrics,
        "origins": origins,
    }
    results: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(whole))
    return results


def shown_metrics(results: Mapping[str, Any]) -> list[Metric]:
    """The metrics that the cells have figures for, in order: as they are registered here, else as the file names them.

    One that neither knows is called by its name, and comes last.
    """
    there = {name for cell in _cells(results) for name in cell.metrics}
    own = _listed(results, "metrics", Metric)
    known = registered_metrics() | {metric.name: metric for metric in own if metric.name not in registered_metrics()}
    nameless = [Metric(name, name.replace("_", " "), "correct", ()) for name in sorted(there - known.keys())]
    return [*(metric for name, metric in known.items() if name in there), *nameless]


def shown_origins(results: Mapping[str, Any]) -> dict[str, str]:
    """Name → heading of the row origins that the cells count, in order."""
    there = {name for cell in _cells(results) for name in cell.added}
    return in_order(there, [*registered_origins().values(), *_listed(results, "origins", RowOrigin)])


def write_results(path: Path | str, results: Mapping[str, Any]) -> None:
    """Writes results.json, all or nothing; makes its folder. Raises OutputError where the file system refuses."""
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


@dataclass(frozen=True)
class Spread:
    """The values of an arm's parts, in percent, and their standard deviation (None below two values)."""

    values: tuple[float, ...]
    deviation: float | None

    @classmethod
    def of(cls, rates: Sequence[Rate]) -> Spread:
        """Of the parts that have a value."""
        values = tuple(rate.value for rate in rates if rate.value is not None)
        return cls(values, round(statistics.stdev(values), DECIMALS) if len(values) > 1 else None)


@dataclass(frozen=True)
class ArmResult:
    """One arm over its seeds. The two labels tell the arms of one results.json apart, and are for people."""

    attack: str
    attack_examples: int
    attack_label: str
    defense: str
    defense_label: str
    cells: tuple[CellResult, ...]

    @property
    def aligned(self) -> bool:
        """The aligned model as it is, before any upload."""
        return self.attack == NO_ATTACK

    @property
    def label(self) -> str:
        """``FJAttack, 100 examples · BackdoorAlign``."""
        return self.attack_label if self.aligned else f"{self.attack_label} · {self.defense_label}"

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that were run."""
        return tuple(dict.fromkeys(cell.seed for cell in self.cells))

    @property
    def secret_seeds(self) -> tuple[int, ...]:
        """The seeds of the secrets, where those were drawn apart from all else."""
        found = [cell.cell.secret_seed for cell in self.cells if cell.cell is not None]
        return tuple(dict.fromkeys(seed for seed in found if seed is not None))

    @property
    def settings(self) -> dict[str, Any]:
        """All that may tell the arm from another of its attack and defense, as ``kind.field``."""
        return _settings(self.cells[0])

    def added(self, origins: Iterable[str]) -> str:
        """``11 + 22 + 40``: different examples of these origins in turn, up to the last that the defense mixes in."""
        counts = [_span(cell.added.get(origin, 0) for cell in self.cells) for origin in origins]
        while counts and counts[-1] == "0":
            counts.pop()
        return " + ".join(counts)

    @property
    def provider_rows(self) -> str:
        """``159–160``: the provider's rows in an epoch, a repeated example as often as it stands there; empty if not known."""
        counts = [_provided(cell.train) for cell in self.cells if cell.train is not None and cell.train.rows]
        return _span(counts) if counts else ""

    @property
    def repeated(self) -> bool:
        """Whether some of the provider's examples stand there more than once."""
        trained = [cell for cell in self.cells if cell.train is not None]
        return any(_provided(cell.train) > sum(cell.added.values()) for cell in trained if cell.train is not None)

    def rates(self, metric: str) -> list[Rate]:
        """The metric of each seed that has it."""
        return [cell.metrics[metric] for cell in self.cells if metric in cell.metrics]

    def rate(self, metric: str) -> Rate | None:
        """The metric over all answers of all seeds; None where none was scored."""
        rate = pooled(self.rates(metric))
        return rate if rate.n else None

    def over_seeds(self, metric: str) -> Spread:
        """What another seed changes: each seed's rate, over all of its secrets."""
        return self._spread(metric, [(cell.seed, cell) for cell in self.cells])

    def over_secrets(self, metric: str) -> Spread:
        """What another secret changes: each secret's rate, over all seeds. Empty where secrets come and go with the seeds."""
        drawn = [(cell.cell.secret_seed, cell) for cell in self.cells if cell.cell is not None]
        return self._spread(metric, [(seed, cell) for seed, cell in drawn if seed is not None])

    def _spread(self, metric: str, parts: Iterable[tuple[int, CellResult]]) -> Spread:
        found: dict[int, list[Rate]] = {}
        for part, cell in parts:
            if metric in cell.metrics:
                found.setdefault(part, []).append(cell.metrics[metric])
        return Spread.of([pooled(rates) for rates in found.values()])

    def trained(self, figure: str) -> float | None:
        """The mean over seeds of ``seconds``, ``tokens`` or ``tokens_per_second``; None without training."""
        found = [getattr(cell.train, figure) for cell in self.cells if cell.train is not None]
        values = [float(value) for value in found if value is not None]
        return statistics.fmean(values) if values else None


def arms_of(results: Mapping[str, Any]) -> list[ArmResult]:
    """The arms in the order of their first cells. Raises DataError where the cells are not those of a results.json."""
    groups: dict[bytes, list[CellResult]] = {}
    for cell in _cells(results):
        known = groups.setdefault(_group(cell), [])
        # An arm that a spec names twice is still run once: counting it twice would narrow its interval.
        if all(_chance(cell) != _chance(other) for other in known):
            known.append(cell)
    firsts = [cells[0] for cells in groups.values()]
    # The defense's label tells models apart, and the aligned model has none.
    words = [_words(cell, "attack", *(["model"] if cell.attack == NO_ATTACK else [])) for cell in firsts]
    attacks = _told_apart([_name_of_attack(cell) for cell in firsts], words)
    arms = [(attack, named(cell.defense)) for attack, cell in zip(attacks, firsts, strict=True)]
    defenses = _told_apart(arms, [_words(cell, "model", "secret", "defense", "training") for cell in firsts])
    return [
        ArmResult(first.attack, first.attack_examples, attack, first.defense, defense, tuple(cells))
        for first, attack, defense, cells in zip(firsts, attacks, defenses, groups.values(), strict=True)
    ]


def named(identifier: str) -> str:
    """``safety_mix`` → ``Safety mix``."""
    return SPELLED.get(identifier) or identifier.replace("_", " ").capitalize()


def _cells(results: Mapping[str, Any]) -> list[CellResult]:
    if "cells" not in results:
        raise DataError("these are no results of a laboratory run: they hold no cells", field="cells")
    return _listed(results, "cells", CellResult)


def _listed(results: Mapping[str, Any], field: str, kind: type[T]) -> list[T]:
    """The field's elements; none where it is missing, as in results of schema 1."""
    try:
        return msgspec.convert(results.get(field, []), list[kind])  # type: ignore[valid-type]
    except (msgspec.ValidationError, UsageError) as error:
        raise DataError(f"these are no results of a laboratory run: {error}", field=field) from error


def _name_of_attack(cell: CellResult) -> str:
    if cell.attack == NO_ATTACK:
        return "Aligned model"
    examples = f", {cell.attack_examples} example{'s' * (cell.attack_examples != 1)}" if cell.attack_examples else ""
    return named(cell.attack) + examples


def _chance(cell: CellResult) -> tuple[int, int | None]:
    """What tells the cells of one arm apart: the seed, and that of the secret."""
    return cell.seed, cell.cell.secret_seed if cell.cell is not None else None


def _group(cell: CellResult) -> bytes:
    """Equal for the seeds of one arm."""
    return canonical([cell.attack, cell.attack_examples, cell.defense, sorted(_settings(cell).items())])


def _settings(cell: CellResult) -> dict[str, Any]:
    """All that may tell arms apart beside the names, as ``kind.field``."""
    found: dict[str, Any] = {"model.model": cell.model, "secret.secret_tokens": cell.secret_tokens}
    if cell.cell is None:
        return found | {f"defense.{origin}": count for origin, count in cell.added.items()}
    if cell.secret_tokens:
        found["secret.secret_kind"] = cell.cell.secret_kind
    if cell.secret_tokens != cell.cell.secret_tokens and _holds_secret(cell.attack):
        # Beside a defense without a secret, or with a sentence as one: the attack's own has the length that was asked for.
        found["attack.secret_tokens"] = cell.cell.secret_tokens
    return found | arguments_of_cell(cell.cell)


def _holds_secret(attack: str) -> bool:
    """Of an attack that is not installed here nobody knows."""
    return ATTACKS.knows(attack) and ATTACKS.get(attack).holds_secret


def _words(cell: CellResult, *kinds: str) -> dict[str, str]:
    """The settings of these kinds, as labels say them."""
    return {key: str(value) for key, value in _settings(cell).items() if key.partition(".")[0] in kinds}


def _told_apart(labels: Sequence[Any], settings: Sequence[dict[str, str]]) -> list[str]:
    """The last part of each label, with the settings that differ among those of the same label."""
    told = []
    for label, own in zip(labels, settings, strict=True):
        alike = [other for also, other in zip(labels, settings, strict=True) if also == label]
        differ = sorted(key for key in own if len({other.get(key) for other in alike}) > 1)
        words = [f"{key.partition('.')[2]}={own[key]}" for key in differ]
        text = label if isinstance(label, str) else label[-1]
        told.append(f"{text} ({', '.join(words)})" if words else text)
    return told


def _provided(figures: TrainFigures) -> int:
    """Rows that are not the tenant's."""
    return sum(count for origin, count in figures.rows.items() if origin != TENANT)


def _span(values: Any) -> str:
    found = sorted(set(values))
    return str(found[0]) if len(found) == 1 else f"{found[0]}–{found[-1]}"
