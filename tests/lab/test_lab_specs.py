"""The specs that are published can be run: they are read, and every name and argument in them is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from watchword.attacks.base import ATTACKS
from watchword.benchmarks.base import BENCHMARKS
from watchword.lab.launch.base import CELL_LAUNCHERS
from watchword.lab.runner import rehearse
from watchword.lab.spec import Choice, Spec, complete
from watchword.models.fakes import fake_template

ROOT = Path(__file__).parents[2]
SPECS = sorted(path for path in (ROOT / "specs").rglob("*") if path.suffix in {".json", ".toml"})


@pytest.mark.parametrize("path", SPECS, ids=lambda path: "/".join(path.parts[-2:]))
def test_every_name_and_argument_is_right(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = Spec.from_file(path)
    assert spec.name.endswith(path.stem)
    CELL_LAUNCHERS.create(spec.launcher.name, **spec.launcher.arguments)
    # One of each arm: seeds and secrets change no name.
    cells = {cell.arm: cell for cell in spec.cells()}
    for cell in cells.values():
        for name, given in cell.evaluation.chosen.items():
            _known(BENCHMARKS, name, given or {})
        if "path" in cell.attack.arguments and not Path(cell.attack.arguments["path"]).exists():
            _known(ATTACKS, cell.attack.name, cell.attack.arguments)
            continue
        asked = msgspec.structs.replace(cell.evaluation, benchmarks={})
        rehearse(complete(msgspec.structs.replace(cell, evaluation=asked)), fake_template())


def _known(registry: Any, name: str, arguments: dict[str, Any]) -> None:
    """That the strategy takes these arguments; the files that they name are the reader's to bring."""
    fields = registry.get(name).__dataclass_fields__
    assert set(arguments) <= set(fields)


@pytest.mark.parametrize("folder", ["default", "paper", "quick"])
def test_the_page_names_every_spec(folder: Path) -> None:
    page = (ROOT / "specs" / "README.md").read_text("utf-8")
    assert all(f"`{path.stem}`" in page for path in (ROOT / "specs" / folder).iterdir())


def test_a_tables_aligned_model_is_run_once() -> None:
    spec = Spec.from_file(ROOT / "specs" / "default" / "headline.json")
    assert [cell.attack for cell in spec.cells()].count(Choice("none")) == 1
