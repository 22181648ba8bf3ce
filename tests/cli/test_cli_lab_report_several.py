"""``watchword lab report`` of a folder of runs: each one's report, one page that leads to them, one summary of all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from support.lab_samples import demo_results, grid_results
from support.outline import Outline
from watchword.cli.app import app
from watchword.errors import DataError
from watchword.lab.report.several import runs_in, write_several
from watchword.lab.report.summary import summary_of
from watchword.lab.report.whole import read_results
from watchword.lab.results import write_results


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs, and a folder that is none."""
    write_results(tmp_path / "small one" / "results.json", demo_results())
    write_results(tmp_path / "grid" / "results.json", grid_results())
    (tmp_path / "kept").mkdir()
    return tmp_path


def test_one_command_makes_every_report_and_the_page_that_leads_to_them(folder: Path) -> None:
    result = CliRunner().invoke(app, ["lab", "report", str(folder)])
    assert result.exit_code == 0, result.output
    page = (folder / "report.html").read_text()
    assert re.findall(r'href="([^"]+/report\.html)"', page) == ["grid/report.html", "small%20one/report.html"]
    assert (folder / "small one" / "report.html").exists()
    assert (folder / "grid" / "picture.svg").exists()
    assert "2 experiments" in page
    assert Outline(page).tags.count("svg") == 2


def test_a_defense_has_one_colour_in_all_pictures(folder: Path) -> None:
    alone = demo_results()
    alone["cells"] = [cell for cell in alone["cells"] if cell["defense"] == "anchored_align"]
    write_results(folder / "small one" / "results.json", alone)
    write_several(folder, runs_in(folder))
    grid, small = (folder / "report.html").read_text().split('<section aria-labelledby="run-')[1:]
    assert "Anchored align" in small
    (colour,) = set(re.findall(r'class="bar (c\d)"', small))
    # The fourth of the grid's defenses, though it is the first here.
    assert colour == "c4"
    assert colour in re.findall(r'class="bar (c\d)"', grid)


def test_the_summary_names_the_experiment_of_every_row(folder: Path) -> None:
    write_several(folder, runs_in(folder))
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["schema"] == 1
    for name in ("grid", "small one"):
        own = [row for row in summary["rows"] if row["experiment"] == name]
        alone = summary_of(read_results(folder / name))["rows"]
        assert [row["asr"]["mean"] for row in own] == [row["asr"]["mean"] for row in alone]


def test_a_run_itself_is_no_folder_of_runs(folder: Path) -> None:
    assert list(runs_in(folder)) == ["grid", "small one"]
    assert runs_in(folder / "grid") == runs_in(folder / "kept") == runs_in(folder / "grid" / "results.json") == {}
    with pytest.raises(DataError, match="there are no results"):
        read_results(folder / "kept")


def test_a_run_that_is_none_is_named(folder: Path) -> None:
    (folder / "grid" / "results.json").write_text("[]")
    with pytest.raises(DataError, match=r"this is no results\.json") as caught:
        write_several(folder, runs_in(folder))
    assert caught.value.path == folder / "grid" / "results.json"
