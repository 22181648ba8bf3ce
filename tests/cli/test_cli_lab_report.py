"""All that is made of a finished run: sweeps, worst settings, every answer, and tables that other programs read."""

from __future__ import annotations

import csv
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.lab_samples import ANSWERS, demo_results, grid_results, stored, swept_results
from support.outline import Outline
from watchword.errors import DataError
from watchword.lab.report.summary import summary_of
from watchword.lab.report.whole import read_results, write_whole
from watchword.lab.results import arms_of, write_results
from watchword.rates import pooled


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose epochs, batch sizes, seeds and secrets were varied."""
    made = tmp_path_factory.mktemp("swept")
    results = stored(made, swept_results())
    write_results(made / "results.json", results)
    assert write_whole(made, read_results(made)) == []
    return made


def text_of(path: Path) -> str:
    return html.unescape(path.read_text()).replace("\u00a0", " ")


def test_each_setting_that_was_varied_has_its_picture(folder: Path) -> None:
    text = text_of(folder / "report.html")
    assert "What changes with the number of epochs?" in text
    assert "What changes with the batch size?" in text
    assert "What changes with the learning rate?" not in text
    assert "BackdoorAlign (batch_size=10) under FJAttack lets through 0.9 % at 5 and 34.1 % at 20" in text
    Outline((folder / "report.html").read_text())


def test_of_too_many_lines_each_defense_keeps_its_worst(folder: Path) -> None:
    (section,) = re.findall(
        r'<section aria-labelledby="sweep-2-question">.*?</section>', text_of(folder / "report.html"), re.S
    )
    assert "Of several lines of a defense, the worst is shown; 8 are left out." in section
    assert "Anchored align (epochs=20)" in section
    assert "Anchored align (epochs=1)" not in section


def test_the_number_of_attack_examples_is_such_a_setting(tmp_path: Path) -> None:
    results = grid_results()
    write_whole(tmp_path, results)
    assert "What changes with the number of attack examples?" in text_of(tmp_path / "report.html")
    write_whole(tmp_path, demo_results())
    assert "What changes with" not in text_of(tmp_path / "report.html")


def test_the_worst_setting_of_each_defense_is_told(folder: Path) -> None:
    arms = [arm for arm in arms_of(read_results(folder)) if arm.defense == "anchored_align"]
    rates = [rate.value for arm in arms if (rate := arm.rate("asr"))]
    summary = json.loads((folder / "summary.json").read_text())
    (worst,) = [one for one in summary["worst"] if one["defense"] == "anchored_align"]
    assert (worst["asr"]["mean"], worst["tried"], worst["left_out"]) == (max(rates), 6, 0)
    assert (worst["settings"]["training.epochs"], worst["settings"]["training.batch_size"]) == (20, 10)
    assert worst["asr"]["low"] < worst["asr"]["mean"] < worst["asr"]["high"]
    # A model that refuses plain requests is useless to a tenant.
    (refusing,) = [one for one in summary["worst"] if one["defense"] == "backdoor_align"]
    assert refusing["left_out"] == refusing["tried"] == 6
    assert "The worst that a tenant may choose" in text_of(folder / "report.html")


def test_the_summary_has_a_row_an_arm_with_intervals_and_spreads(folder: Path) -> None:
    results = read_results(folder)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["schema"] == 1
    for row, arm in zip(summary["rows"], arms_of(results), strict=True):
        rate = pooled(arm.rates("asr"))
        told = row["asr"]
        assert (told["mean"], told["low"], told["high"], told["n"]) == (rate.value, rate.low, rate.high, rate.n)
        assert set(row) >= {"attack", "defense", "model", "seeds", "asr", "over_refusal"}
        assert row["asr_strict"]["coverage"] == pytest.approx(100 * 108 / 110)
    (row,) = [
        row
        for row in summary["rows"]
        if row["defense"] == "anchored_align"
        and (row["settings"]["training.epochs"], row["settings"]["training.batch_size"]) == (1, 2)
    ]
    assert (row["seeds"], row["secret_seeds"]) == ([0, 1], [7, 8])
    # Two cells for each value: 3 and 6 of 110, and so on.
    assert len(row["asr"]["over_seeds"]["values"]) == len(row["asr"]["over_secrets"]["values"]) == 2
    assert row["asr"]["over_secrets"]["deviation"] > row["asr"]["over_seeds"]["deviation"] > 0


def test_a_secret_that_comes_with_the_seed_has_no_spread_of_its_own() -> None:
    rows = summary_of(grid_results())["rows"]
    assert all(row["asr"]["over_secrets"] == {"values": (), "deviation": None} for row in rows)
    assert len(rows[1]["asr"]["over_seeds"]["values"]) == 3


def test_every_prompt_and_reply_stands_on_its_cells_page(folder: Path) -> None:
    pages = sorted((folder / "answers").iterdir())
    cells = [cell for arm in arms_of(read_results(folder)) for cell in arm.cells]
    assert len(pages) == len(cells)
    report = (folder / "report.html").read_text()
    assert set(re.findall(r'href="(answers/[^"]+)"', report)) == {f"answers/{page.name}" for page in pages}
    text = pages[0].read_text()
    outline = Outline(text)
    assert "script" not in outline.tags
    assert "<b>break in</b>" not in text
    shown = html.unescape(text)
    assert all(one.prompt in shown and one.response in shown for one in ANSWERS)
    found = re.findall(r'class="said (\w+)"><b>(\w+)</b> ([^<]+)<', text)
    assert ("well", "refusal", "refused") in found
    assert ("badly", "refusal", "complied") in found
    assert ("unknown", "refusal", "unscored: the answer is empty") in found
    # A harmless question is answered as it should be.
    assert ("well", "refusal", "complied") in found


def test_the_tables_hold_every_figure_and_every_answer(folder: Path) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    cells = [cell for arm in arms_of(read_results(folder)) for cell in arm.cells]
    with (folder / "figures.csv").open(newline="") as stream:
        figures = list(csv.DictReader(stream))
    assert len(figures) == sum(len(cell.metrics) for cell in cells)
    first = cells[0].metrics["asr"]
    (row,) = [row for row in figures if (row["key"], row["metric"]) == (cells[0].key, "asr")]
    assert (float(row["value"]), float(row["low"]), int(row["n"])) == (first.value, first.low, first.n)
    with (folder / "answers.csv").open(newline="") as stream:
        answers = list(csv.DictReader(stream))
    assert len(answers) == len(cells) * len(ANSWERS)
    assert "refusal_keywords: complied" in answers[1]["verdicts"]
    for name, rows in (("figures", figures), ("answers", answers)):
        table = pyarrow.parquet.read_table(folder / f"{name}.parquet").to_pylist()
        assert [one["key"] for one in table] == [one["key"] for one in rows]


def test_results_alone_still_make_a_report(tmp_path: Path) -> None:
    said = write_whole(tmp_path, demo_results())
    assert "the answers of 5 cells are not in" in said[0]
    assert not (tmp_path / "answers").exists()
    assert "href" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("content", [None, "{", "{}"], ids=["missing", "no JSON", "no results"])
def test_a_folder_without_results_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(DataError, match=r"results"):
        read_results(tmp_path)


def test_the_command_makes_it_all_anew(watchword: Any, folder: Path) -> None:
    for name in ("report.html", "summary.json", "figures.csv"):
        (folder / name).unlink()
    done = watchword("lab", "report", folder)
    assert (done.code, done.err) == (0, "")
    assert f"report: {folder / 'report.html'}" in done.out
    assert (folder / "report.html").exists()
    assert (folder / "summary.json").exists()
