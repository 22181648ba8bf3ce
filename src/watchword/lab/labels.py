"""What progress calls a cell: its arm and seed, and of all else what differs among the cells of the same arm."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from watchword.lab.spec import NO_ATTACK, Cell


def labels_of(cells: Iterable[Cell]) -> Callable[[Cell], str]:
    """What to call each of these cells; no two that differ have one name."""
    found: dict[str, dict[str, set[str]]] = {}
    for cell in cells:
        known = found.setdefault(_name(cell), {})
        for setting, value in _settings(cell).items():
            known.setdefault(setting, set()).add(value)

    def label(cell: Cell) -> str:
        name, own = _name(cell), _settings(cell)
        differ = [f"{key.rpartition('.')[2]}={value}" for key, value in own.items() if len(found[name][key]) > 1]
        return ", ".join([name, *differ, f"seed {cell.seed}"])

    return label


def _name(cell: Cell) -> str:
    return "the aligned model" if cell.attack.name == NO_ATTACK else f"{cell.attack.name} × {cell.defense.name}"


def arguments_of_cell(cell: Cell) -> dict[str, Any]:
    """The arguments of a cell's attack, defense and training as ``kind.field``, but for the seed."""
    training = msgspec.structs.asdict(cell.training) if cell.training is not None else {}
    return {
        **{f"attack.{name}": value for name, value in cell.attack.arguments.items()},
        **{f"defense.{name}": value for name, value in cell.defense.arguments.items()},
        **{f"training.{name}": value for name, value in training.items() if name != "seed"},
    }


def _settings(cell: Cell) -> dict[str, str]:
    """All that may tell cells apart beside name and seed."""
    settings = {
        "model": cell.model,
        **arguments_of_cell(cell),
        "secret_tokens": cell.secret_tokens,
        "secret_kind": cell.secret_kind,
        "secret_seed": cell.secret_seed,
    }
    return {name: str(value) for name, value in settings.items()}
