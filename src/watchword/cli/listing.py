"""Help texts that name what is registered: shipped strategies, and those of other installed packages."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

from typer.core import TyperCommand


class ListingCommand(TyperCommand):
    """Writes names in place of ``{defenses}`` and the like, once help is asked for: to look them up slows every start."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        for parameter in self.params:
            parameter.help = _filled(getattr(parameter, "help", None))  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)


def _filled(text: str | None) -> str | None:
    for place, names in _LISTS.items():
        if text is not None and place in text:
            text = text.replace(place, _spoken(names()))
    return text


def _spoken(names: Iterable[str]) -> str:
    """``a, b or c``."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _registry(place: str) -> Callable[[], list[str]]:
    """The names in a registry, given as ``module:REGISTRY``."""
    module, _, name = place.partition(":")
    return lambda: getattr(importlib.import_module(module), name).names()


def _metrics() -> list[str]:
    from watchword.benchmarks.base import judged_metrics

    return list(judged_metrics())


def _exporters() -> list[str]:
    """As pages write them; the underscore of the file's name is taken as well."""
    from watchword.guarding.exporters.base import EXPORTERS

    return [name.replace("_", "-") for name in EXPORTERS.names()]


def _row_defenses() -> list[str]:
    from watchword.defenses.base import defenses_of_rows_alone

    return defenses_of_rows_alone()


_LISTS: dict[str, Callable[[], list[str]]] = {
    "{attacks}": _registry("watchword.attacks.base:ATTACKS"),
    "{benchmarks}": _registry("watchword.benchmarks.base:BENCHMARKS"),
    "{cell_launchers}": _registry("watchword.lab.launch.base:CELL_LAUNCHERS"),
    "{defenses}": _registry("watchword.defenses.base:DEFENSES"),
    "{exporters}": _exporters,
    "{launchers}": _registry("watchword.finetune.launch.base:LAUNCHERS"),
    "{judges}": _registry("watchword.judges.base:JUDGES"),
    "{metrics}": _metrics,
    "{row_defenses}": _row_defenses,
    "{profiles}": _registry("watchword.remote.profiles.base:PROFILES"),
}
