"""The page and the picture: whole, honest, and without anything from outside."""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.lab_samples import cell_result, demo_results, grid_results
from support.outline import Outline
from watchword.benchmarks.base import Metric
from watchword.errors import DataError, OutputError
from watchword.lab.evaluation import Evaluation
from watchword.lab.report.page import write_picture, write_report
from watchword.lab.results import arms_of
from watchword.lab.spec import complete
from watchword.lab.store import CellResult
from watchword.rates import Rate

SVG = "{http://www.w3.org/2000/svg}"


def page(tmp_path: Path, results: dict[str, Any]) -> str:
    write_report(tmp_path / "report.html", results)
    return (tmp_path / "report.html").read_text()


def drawing(tmp_path: Path, results: dict[str, Any]) -> ET.Element:
    write_picture(tmp_path / "picture.svg", results)
    return ET.fromstring((tmp_path / "picture.svg").read_text())


def of(*cells: Any) -> dict[str, Any]:
    return {"spec": {"name": "t", "model": "m"}, "versions": {}, "cells": msgspec.to_builtins(list(cells))}


@pytest.mark.parametrize("results", [demo_results(), grid_results()], ids=["demo", "grid"])
def test_nothing_is_fetched(tmp_path: Path, results: dict[str, Any]) -> None:
    text = page(tmp_path, results)
    outline = Outline(text)
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(outline.tags)
    assert not {"src", "href", "xlink:href", "onload", "action"} & {name for name, _ in outline.attributes}
    assert "@import" not in text
    assert "url(" not in text
    assert set(re.findall(r"https?://[^\s\"<]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text


@pytest.mark.parametrize("results", [demo_results(), grid_results()], ids=["demo", "grid"])
def test_every_arm_and_every_rate_is_there(tmp_path: Path, results: dict[str, Any]) -> None:
    text = html.unescape(page(tmp_path, results))
    for arm in arms_of(results):
        assert arm.label in text
        for metric in arm.cells[0].metrics:
            rate = arm.rate(metric)
            assert rate is not None
            assert f"<strong>{rate.value:.1f}</strong><span>{rate.low:.1f}–{rate.high:.1f}</span>" in text
            for seed in arm.rates(metric):
                assert f"{seed.value:.1f}" in text


def test_each_question_has_a_picture_with_a_title_a_description_and_a_table(tmp_path: Path) -> None:
    text = page(tmp_path, demo_results())
    pictures = re.findall(r"<svg[^>]*role=.*?</svg>", text, re.DOTALL)
    assert len(pictures) == 6
    for picture in pictures:
        root = ET.fromstring(picture)
        named = [root.find(f"{SVG}{name}") for name in ("title", "desc")]
        assert all(node is not None and node.text for node in named)
        assert root.get("aria-labelledby") == " ".join(node.get("id", "") for node in named if node is not None)
    assert text.count("The figures as a table") == 6
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_the_tables_below_pictures_name_rates_with_a_sign_and_means_without(tmp_path: Path) -> None:
    ratings = Rate.mean([6.0, 7.0, 8.0])
    text = page(tmp_path, of(cell_result(metrics={"asr": Rate.of(1, 9), "mt_bench": ratings})))
    assert ">ASR, %</th>" in text
    assert ">MT-Bench, 1 to 10, higher is better</th>" in text
    assert "Means of scores have a unit of their own" in text
    assert "Means of scores" not in page(tmp_path, demo_results())


def test_the_findings_are_worked_out(tmp_path: Path) -> None:
    text = page(tmp_path, demo_results()).replace("\u00a0", " ")
    assert "Attack success is 1.5 % for the aligned model and 98.5 % after fine-tuning without a defense" in text
    assert "least with BackdoorAlign: 0.0 %; the intervals do not set Anchored align apart from it" in text
    assert "most with BackdoorAlign: 98.4 %" in text
    assert "87.9 % instead of 0.0 % (BackdoorAlign)" in text
    assert "1 of 3 defended arms is low on both axes (at most 10 %): Anchored align." in text
    assert "The loss ended below its start in all 4 training runs" in text
    assert "between 31 s (FJAttack, 40 examples · No defense) and 82 s" in text


def test_the_findings_name_all_that_are_alike_and_what_a_kind_defense_lets_through(tmp_path: Path) -> None:
    good, bad = Rate.of(0, 100), Rate.of(100, 100)
    kind = {"asr": bad, "over_refusal": good, "asr_tricks": bad}
    safe = {"asr": good, "over_refusal": bad, "asr_tricks": good}
    cells = [cell_result(defense=name, secret_tokens=0, metrics=safe) for name in ("ptst", "sbr")]
    cells.append(cell_result(defense="safety_mix", secret_tokens=0, metrics=kind))
    text = page(tmp_path, of(*cells)).replace("\u00a0", " ")
    assert "least with Ptst and Sbr: 0.0 %." in text
    assert "but Safety mix lets 100.0 % of the attack through" in text
    assert "0.0 % to 100.0 %, with a defense most for Safety mix: 100.0 %" in text


def test_the_findings_of_one_run_are_in_the_singular(tmp_path: Path) -> None:
    same = Rate.of(3, 100)
    text = page(tmp_path, of(cell_result(metrics={"asr": same, "asr_without_secret": same}))).replace("\u00a0", " ")
    assert "The loss of the one training run went from " in text
    assert "Without the secret, attack success is 3.0 % as with it (BackdoorAlign)." in text


def test_the_findings_follow_the_figures(tmp_path: Path) -> None:
    good, bad = Rate.of(0, 100), Rate.of(100, 100)
    cells = [
        cell_result(metrics={"asr": bad, "over_refusal": good, "asr_without_secret": good}),
        cell_result(defense="safety_mix", secret_tokens=0, metrics={"asr": good, "over_refusal": bad}),
    ]
    text = page(tmp_path, of(*cells)).replace("\u00a0", " ")
    assert "With a defense it is least with Safety mix: 0.0 %." in text
    assert "0.0 % instead of 100.0 % (BackdoorAlign)" in text
    assert "None of the 2 defended arms is low on both axes" in text


def test_names_are_text_wherever_they_stand(tmp_path: Path) -> None:
    hostile = "<script>alert('x')</script>\"&{{ 7*7 }}"
    results = of(cell_result(defense=hostile, metrics={"asr": Rate.of(1, 9), hostile: Rate.of(1, 9)}))
    results["spec"] = {"name": hostile, "model": hostile}
    results["versions"] = {hostile: hostile}
    text = page(tmp_path, results)
    assert "<script" not in text.lower()
    assert "{{ 7*7 }}" in text
    Outline(text)
    assert "script" in ET.tostring(drawing(tmp_path, results), encoding="unicode")


@pytest.mark.parametrize(
    "cells",
    [
        [],
        [cell_result(metrics={"asr": Rate.of(0, 0, unscored=9)}, train=None)],
        [cell_result(metrics={})],
        [cell_result(attack="none", attack_examples=0, defense="none", train=None)],
    ],
    ids=["no cell", "unscored", "no metric", "aligned only"],
)
def test_what_is_missing_is_said(tmp_path: Path, cells: list[Any]) -> None:
    results = of(*cells)
    text = page(tmp_path, results)
    Outline(text)
    assert "None" not in text
    assert "nan" not in re.findall(r"\w+", text)
    drawing(tmp_path, results)


def test_unscored_answers_are_counted(tmp_path: Path) -> None:
    text = page(
        tmp_path, of(cell_result(metrics={"asr": Rate.of(0, 0, unscored=9), "over_refusal": Rate.of(1, 8, unscored=2)}))
    )
    assert "n 0 · 9 unscored" in text
    assert "n 8 · 2 unscored" in text


def test_an_arm_whose_answers_make_no_sense_is_in_no_good_corner(tmp_path: Path) -> None:
    few = {"asr": Rate.of(0, 20, unscored=80), "over_refusal": Rate.of(1, 60)}
    text = page(tmp_path, of(cell_result(metrics=few)))
    assert "The one defended arm is not low on both axes" in text
    assert "attack success is 0.0\u00a0% (of 20 answers; 80 unscored)" in text
    all_of_them = {**few, "asr": Rate.of(0, 100)}
    scored = page(tmp_path, of(cell_result(metrics=all_of_them)))
    assert "The one defended arm is not low" not in scored
    assert "The one defended arm is low on both axes" in scored


def test_a_defense_looks_the_same_in_every_picture(tmp_path: Path) -> None:
    text = page(tmp_path, demo_results())
    found = re.findall(r'<g class="(?:bar|pair) (c\d)"><title>[^<]*BackdoorAlign: ', text)
    assert len(found) == 1 + 3 + 1 + 2
    assert set(found) == {"c3"}


def test_the_picture_stands_alone(tmp_path: Path) -> None:
    root = drawing(tmp_path, demo_results())
    text = "".join(root.itertext())
    for arm in arms_of(demo_results()):
        assert (arm.attack_label if arm.aligned else arm.defense_label) in text
    assert "98.5" in text
    assert root.find(f"{SVG}rect") is not None
    written = (tmp_path / "picture.svg").read_text()
    assert "var(" not in written
    assert "url(" not in written


def test_folders_are_made_and_an_old_page_stands_when_it_cannot_be_replaced(tmp_path: Path) -> None:
    write_report(tmp_path / "a" / "b" / "report.html", demo_results())
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(tmp_path / "a" / "b" / "report.html" / "report.html", demo_results())
    with pytest.raises(DataError):
        write_report(tmp_path / "a" / "b" / "report.html", {"cells": [1]})
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["report.html"]


def test_a_picture_takes_no_more_rates_than_it_has_room_for(tmp_path: Path) -> None:
    more = [Metric(f"refused_{n}", f"Refused of kind {n}", "refused", ("q",), judge="refusal") for n in range(12)]
    results = of(cell_result(metrics={metric.name: Rate.of(n, 12) for n, metric in enumerate(more)}))
    text = page(tmp_path, {**results, "metrics": msgspec.to_builtins(more)})
    Outline(text)
    assert 'width="-' not in text
    assert all(f'<th scope="col">Refused of kind {n}</th>' in text for n in range(12))


def test_what_another_judge_says_of_a_pictured_question_stands_in_the_table_alone(tmp_path: Path) -> None:
    rates = {f"{kind}{judge}": Rate.of(4, 110) for kind in ("asr", "over_refusal") for judge in ("", "_trained")}
    text = page(tmp_path, of(cell_result(metrics=rates)))
    asked = re.findall(r"<h2[^>]*>([^<]*\?)</h2>", text)
    assert "What does safety cost the honest?" in asked
    assert len(asked) == len(set(asked))
    assert all(f'<th scope="col">{kind}, trained judge</th>' in text for kind in ("ASR", "Over-refusal"))


def test_the_mean_of_a_score_is_shown_in_its_own_unit(tmp_path: Path) -> None:
    found = demo_results()
    for cell in found["cells"]:
        cell["metrics"]["harmfulness"] = msgspec.to_builtins(Rate.mean([1.0, 4.0, 5.0, 4.0]))
        cell["metrics"]["summary_rouge_1"] = msgspec.to_builtins(Rate.mean([]))
    text = html.unescape(page(tmp_path, found))
    assert "Harmfulness, 1 to 5: 3.5" in text
    assert "3.5\u00a0%" not in text
    assert "3.5 %" not in text


@pytest.mark.parametrize(
    ("asked", "told"), [({"policy": {"split": "report"}, "task": None}, True), ({"policy": {}}, False)]
)
def test_the_page_says_which_prompts_were_asked(tmp_path: Path, asked: dict[str, Any], told: bool) -> None:
    cells = [msgspec.convert(cell, CellResult) for cell in demo_results()["cells"]]
    evaluation = Evaluation(benchmarks=asked)
    found = [
        msgspec.structs.replace(one, cell=complete(msgspec.structs.replace(one.cell, evaluation=evaluation)))
        for one in cells
        if one.cell is not None
    ]
    text = page(tmp_path, of(*found))
    assert ("the report split: policy" in text) is told
    assert ("<dt>Prompts</dt>" in text) is told
