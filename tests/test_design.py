"""The pictures of the tree in docs/design.md and the README are the tree, and the layers are those that are checked."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "watchword"
DESIGN, README = ROOT / "docs" / "design.md", ROOT / "README.md"
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINE = re.compile(r"(?P<indent> +)(?P<name>[\w.]+?)(?P<folder>/?) +(?P<purpose>\S.*)")


def drawn(page: Path) -> dict[str, re.Match[str]]:
    """The lines of a page's picture by the path that each names, relative to src/watchword."""
    (picture,) = [block for block in BLOCK.findall(page.read_text("utf-8")) if block.startswith("src/watchword/\n")]
    found: dict[str, re.Match[str]] = {}
    above: list[str] = []
    for text in picture.splitlines()[1:]:
        line = LINE.fullmatch(text)
        if line is None:
            break
        depth = len(line["indent"]) // 2 - 1
        above = [*above[:depth], line["name"]]
        assert len(above) == depth + 1, f"{text!r} is indented below nothing"
        found["/".join(above) + line["folder"]] = line
    return found


def packages() -> set[str]:
    return {f"{path.parent.relative_to(SOURCE)}/" for path in SOURCE.rglob("__init__.py")} - {"./"}


def test_the_picture_of_the_design_is_the_tree() -> None:
    modules = {path.name for path in SOURCE.glob("*.py")} - {"__init__.py"}
    assert set(drawn(DESIGN)) == packages() | modules


def test_the_picture_of_the_readme_names_every_package_of_the_first_level() -> None:
    shown = {name for name in drawn(README) if name.endswith("/")}
    assert shown == {name for name in packages() if name.count("/") == 1}


@pytest.mark.parametrize("page", [DESIGN, README], ids=lambda page: page.name)
def test_the_lines_of_a_picture_are_aligned(page: Path) -> None:
    assert len({line.start("purpose") for line in drawn(page).values()}) == 1


def test_the_folders_beside_the_package_are_there() -> None:
    (picture,) = [block for block in BLOCK.findall(DESIGN.read_text("utf-8")) if block.startswith("perf/")]
    assert all((ROOT / line.split("/")[0]).is_dir() for line in picture.splitlines())


def test_the_layers_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    wanted = "".join(f"{layer.replace('watchword.', '')}\n" for layer in layers)
    assert wanted in BLOCK.findall(DESIGN.read_text("utf-8"))


def test_no_comment_cites_a_page_that_is_not_there() -> None:
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    for path in sorted(SOURCE.rglob("*.py")):
        cited = set(re.findall(r"docs/([\w.]+\.md)", path.read_text("utf-8")))
        assert cited <= pages, f"{path} cites {cited - pages}"
        assert "DESIGN" not in path.read_text("utf-8"), path
