"""results.json: its form, its writing, and its arms."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from support.lab_samples import cell_result, demo_results, grid_results, spec
from watchword.benchmarks.base import Metric
from watchword.errors import DataError, OutputError
from watchword.lab.labels import labels_of
from watchword.lab.report.findings import attack_success, over_refusal
from watchword.lab.report.table import _arm
from watchword.lab.results import ArmResult, arms_of, named, results_of, shown_metrics, shown_origins, write_results
from watchword.lab.spec import Arm, Choice, Spec
from watchword.lab.store import CellResult, TrainFigures
from watchword.rates import Rate


def test_the_form_is_the_published_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "results.json"
    write_results(path, demo_results())
    found = json.loads(path.read_text())
    assert found["schema"] == 2
    assert list(found)[:4] == ["schema", "spec", "versions", "cells"]
    aligned, *others = found["cells"]
    assert (aligned["attack"], aligned["attack_examples"], aligned["defense"]) == ("none", 0, "none")
    assert aligned["train"] is None
    for cell in others:
        assert set(cell["train"]) >= {"seconds", "tokens_per_second", "loss"}
        assert set(cell["metrics"]["asr"]) == {"value", "low", "high", "n", "unscored"}
    bearing = [cell["defense"] for cell in others if "asr_without_secret" in cell["metrics"]]
    assert bearing == ["backdoor_align", "anchored_align"]


def test_results_of_schema_1_count_rows_by_field() -> None:
    """The published results are of that form."""
    old = msgspec.to_builtins(cell_result())
    del old["added"]
    old |= {"safety_examples": 11, "anchors": 0, "echoes": 94}
    results = {"schema": 1, "cells": [old]}
    assert arms_of(results)[0].cells[0].added == {"safety": 11, "echo": 94}
    assert next(iter(shown_origins(results).items())) == ("safety", "safety examples")


def test_results_bring_the_headings_of_what_is_not_installed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = Metric("truth", "True answers", "correct", ("truth",), direction="higher")
    cells = [
        cell_result(
            metrics={"truth": Rate.of(1, 2), "asr": Rate.of(1, 2), "odd_one": Rate.of(1, 2)}, added={"pledge": 3}
        )
    ]
    results = results_of(spec([Choice("fj_attack")], [0], name="mine"), cells)
    results["metrics"].append(msgspec.to_builtins(truth))
    results["origins"].append({"name": "pledge", "heading": "pledges"})
    assert [metric.heading for metric in shown_metrics(results)] == ["ASR", "True answers", "odd one"]
    assert shown_origins(results) == {"pledge": "pledges"}
    with pytest.raises(DataError, match="these are no results of a laboratory run"):
        shown_metrics({**results, "metrics": [{"name": 3}]})


def test_what_is_written_reads_back_as_the_same_results(tmp_path: Path) -> None:
    results = grid_results()
    write_results(tmp_path / "results.json", results)
    assert json.loads((tmp_path / "results.json").read_text()) == results


def test_where_it_cannot_be_written_the_old_file_stands(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_results(path, {"cells": object()})
    assert path.read_text() == "old"
    with pytest.raises(OutputError, match=r"results\.json"):
        write_results(path / "inner" / "results.json", demo_results())
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_seeds_are_gathered_into_arms_in_order() -> None:
    arms = arms_of(grid_results())
    assert len(arms) == 1 + 5 * 4
    assert arms[0].aligned
    assert arms[0].seeds == (0,)
    assert arms[1].label == "FJAttack, 10 examples · No defense"
    assert {arm.seeds for arm in arms[1:]} == {(0, 1, 2)}


def test_an_arms_rate_is_over_the_answers_of_all_seeds() -> None:
    arm = arms_of(grid_results())[2]
    rates = arm.rates("asr")
    pooled = arm.rate("asr")
    assert pooled is not None
    assert (pooled.n, pooled.hits) == (330, sum(rate.hits for rate in rates))
    assert arm.trained("seconds") == pytest.approx(49.0)


def test_a_metric_that_nobody_has_or_nobody_scored_is_none() -> None:
    cells = [cell_result(metrics={"asr": Rate.of(0, 0, unscored=5)})]
    arm = arms_of({"cells": msgspec.to_builtins(cells)})[0]
    assert arm.rate("asr") is None
    assert arm.rate("over_refusal") is None


def test_an_arm_that_was_run_twice_is_counted_once() -> None:
    twice = msgspec.to_builtins([cell_result(), cell_result()])
    assert arms_of({"cells": twice})[0].seeds == (0,)


def test_arms_of_one_name_are_told_apart_by_what_differs() -> None:
    cells = [cell_result(defense="anchored_align", added={"anchor": count}) for count in (11, 22)]
    labels = [arm.defense_label for arm in arms_of({"cells": msgspec.to_builtins(cells)})]
    assert labels == ["Anchored align (anchor=11)", "Anchored align (anchor=22)"]


def test_aligned_models_are_told_apart_by_model_where_there_are_several() -> None:
    def labels(*models: str) -> list[str]:
        cells = [
            cell_result(model=model, attack="none", attack_examples=0, defense="none", train=None) for model in models
        ]
        arms = arms_of({"cells": msgspec.to_builtins(cells)})
        return [*(arm.label for arm in arms), attack_success(arms), over_refusal(arms)]

    assert labels("a")[0] == "Aligned model"
    *both, attacked, refused = labels("a", "b")
    assert both == ["Aligned model (model=a)", "Aligned model (model=b)"]
    ends = "3.6\u00a0% for the aligned model (model=a) and 3.6\u00a0% for the aligned model (model=b)."
    assert attacked == f"Attack success is {ends}"
    assert refused.startswith(
        "The aligned model (model=a) refuses 47.6\u00a0% and the aligned model (model=b) refuses 47.6"
    )


def test_progress_names_what_differs_among_the_cells_of_an_arm() -> None:
    once = spec([Choice("fj_attack")], [0], name="x").cells()
    label = labels_of(once)
    assert [label(cell) for cell in once[:2]] == ["the aligned model, seed 0", "fj_attack × none, seed 0"]
    many = msgspec.structs.replace(
        spec([Choice("fj_attack", {"n": n}) for n in (10, 50)], [0, 1], name="x"),
        model="", models=["a", "b"], secret_seeds=[7, 8], hyperparameters={"epochs": [1, 5]},
    ).cells()  # fmt: skip
    label = labels_of(many)
    told = [label(cell) for cell in many]
    assert len(set(told)) == len(many)
    assert {"the aligned model, model=b, seed 0", "fj_attack × safety_mix, model=a, n=50, epochs=1, seed 1"} <= set(
        told
    )
    assert "fj_attack × backdoor_align, model=a, n=10, epochs=5, secret_seed=8, seed 0" in told


@pytest.mark.parametrize(("attack", "arms"), [("wrong_secret", 2), ("leaked_secret", 2), ("fj_attack", 1)])
def test_an_attack_with_a_secret_of_its_own_is_told_apart_by_its_length(attack: str, arms: int) -> None:
    asked = Spec(
        name="x",
        model="m",
        arms=[Arm(Choice(attack))],
        seeds=[0],
        hyperparameters={"secret_tokens": [10, 150]},
    )
    cells = [cell_result(attack=attack, defense="none", secret_tokens=0, cell=cell) for cell in asked.cells()]
    found = arms_of({"cells": msgspec.to_builtins(cells)})
    # Of any other attack the two are one run, which is counted once.
    assert [len(arm.cells) for arm in found] == [1] * arms
    assert [arm.settings.get("attack.secret_tokens") for arm in found] == ([10, 150] if arms == 2 else [None])


def test_provider_rows_are_a_span_where_seeds_differ() -> None:
    run = spec([Choice("fj_attack")], [0, 1], name="x").cells()
    own = [cell for cell in run if cell.defense.name == "anchored_align"]
    cells = [cell_result(added={"safety": 11, "anchor": 20 + 2 * cell.seed}, seed=cell.seed, cell=cell) for cell in own]
    (arm,) = arms_of({"cells": msgspec.to_builtins(cells)})
    assert arm.added(["safety", "anchor", "echo"]) == "11 + 20–22"
    assert arm.added(["echo", "anchor"]) == "0 + 20–22"
    assert arm.added(["echo"]) == ""


def test_rows_that_repeated_examples_make_are_counted_beside_the_examples() -> None:
    def arm_of(*counts: tuple[dict[str, int], dict[str, int]]) -> ArmResult:
        cells = [
            cell_result(seed=seed, added=added, train=TrainFigures(1.0, 1.0, [1.0], 1, rows))
            for seed, (added, rows) in enumerate(counts)
        ]
        (arm,) = arms_of({"cells": [msgspec.to_builtins(cell) for cell in cells]})
        return arm

    repeated = arm_of(
        ({"safety": 11}, {"tenant": 100, "safety": 159}), ({"safety": 11}, {"tenant": 100, "safety": 160})
    )
    assert (repeated.provider_rows, repeated.repeated) == ("159–160", True)
    assert _arm(repeated, ["safety"]).endswith("11 (159–160 rows)")
    once = arm_of(({"safety": 11}, {"tenant": 100, "safety": 11}))
    assert (once.provider_rows, once.repeated) == ("11", False)
    assert _arm(once, ["safety"]).endswith(" 11")
    assert arm_of(({}, {})).provider_rows == ""


@pytest.mark.parametrize("results", [{}, {"cells": 3}, {"cells": [{"model": "m"}]}])
def test_what_is_no_results_file_is_refused(results: dict[str, object]) -> None:
    with pytest.raises(DataError, match="these are no results of a laboratory run"):
        arms_of(results)


def test_results_carry_spec_and_versions() -> None:
    cells: list[CellResult] = []
    results = results_of(spec([Choice("fj_attack")], [0], name="mine"), cells)
    assert results["spec"]["name"] == "mine"
    assert results["versions"]["python"]


def test_names_for_people() -> None:
    assert [named(name) for name in ("fj_attack", "safety_mix")] == ["FJAttack", "Safety mix"]
