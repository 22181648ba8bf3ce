"""A spec is decoded strictly and becomes the grid that it names."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.lab_samples import demo_results, spec
from watchword.errors import SpecError, UnknownNameError, UsageError
from watchword.lab.demo import demo_spec
from watchword.lab.evaluation import Evaluation
from watchword.lab.spec import Cell, Choice, Spec, complete

PLAIN: dict[str, Any] = {
    "name": "trial",
    "model": "smollm2-135m",
    "seeds": [0, 1],
    "arms": [
        {"attack": {"name": "none"}},
        {"attack": {"name": "fj-attack", "arguments": {"n": 10}}, "defense": {"name": "backdoor-align"}},
    ],
}


def changed(**fields: Any) -> str:
    return json.dumps({**PLAIN, **fields})


def test_the_grid_is_arm_by_arm_and_the_aligned_model_is_run_once() -> None:
    cells = Spec.from_json(json.dumps(PLAIN)).cells()
    arm = "fj_attack n=10 × backdoor_align"
    assert [(cell.arm, cell.seed) for cell in cells] == [("aligned", 0), (arm, 0), (arm, 1)]
    assert cells[0].training is None
    assert cells[0].secret_tokens == 0


def test_a_seed_also_seeds_the_training() -> None:
    trained = [cell.training for cell in Spec.from_json(json.dumps(PLAIN)).cells() if cell.training]
    assert [training.seed for training in trained] == [0, 1]


def test_an_arm_overrides_single_fields_of_the_training() -> None:
    arms = [{"attack": {"name": "fj_attack"}, "training": {"epochs": 2}}, {"attack": {"name": "fj_attack"}}]
    cells = Spec.from_json(changed(arms=arms, seeds=[0], training={"learning_rate": 1e-4})).cells()
    found = [(cell.training.epochs, cell.training.learning_rate) for cell in cells if cell.training]
    assert found == [(2, 1e-4), (5, 1e-4)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"armz": []}, "armz"),
        ({"training": {"epoch": 3}}, "training: there is no field 'epoch': did you mean 'epochs'"),
        ({"training": {"seed": 7}}, "training: seed is set by the spec's seeds"),
        ({"training": {"epochs": 0}}, "epochs is 0"),
        ({"training": {"epochs": "three"}}, "epochs"),
        ({"seeds": []}, "seeds is empty"),
        ({"seeds": [1, 1]}, "each may stand once"),
        ({"arms": []}, "arms is empty"),
        ({"model": ""}, "name one model, or a list of models"),
        ({"models": ["a"]}, "name one model, or a list of models"),
        ({"attacks": [{"name": "fj_attack"}]}, "make a grid together"),
        ({"defenses": [{"name": "none"}]}, "make a grid together"),
        ({"secret_seeds": [1, 1]}, "each may stand once"),
        ({"keep": ["everything"]}, "keep"),
        ({"hyperparameters": {"epoch": [1]}}, "hyperparameters: there is no field 'epoch': did you mean 'epochs'"),
        ({"hyperparameters": {"epochs": []}}, "epochs has no value"),
        ({"hyperparameters": {"epochs": [0]}}, "hyperparameters: training: epochs is 0"),
        ({"hyperparameters": {"secret_tokens": [0]}}, "secret_tokens is 0"),
        ({"hyperparameters": {"secret_kind": ["random"]}}, "secret_kind is 'random'"),
        ({"name": ""}, "name is empty"),
        ({"secret_tokens": 0}, "secret_tokens is 0"),
        ({"evaluation": {"policy": -1}}, "policy is -1"),
        ({"evaluation": {"batch_size": 0}}, "batch_size is 0"),
        ({"arms": [{"attack": {"name": " "}}]}, "name is empty"),
        ({"arms": [{"attack": {"name": "none"}, "defense": {"name": "safety_mix"}}]}, 'take attack "benign"'),
        (
            {"arms": [{"attack": {"name": "fj_attack"}, "training": {"lerning_rate": 1}}]},
            r"arms\[0\].training: there is no field 'lerning_rate': did you mean 'learning_rate'",
        ),
        ({"arms": [{"attack": {"name": "fj_attack"}, "training": {"seed": 1}}]}, "seed is set by the spec's seeds"),
        ({"arms": [{"attack": {"name": "fj_attack"}, "training": {"epochs": -1}}]}, r"arms\[0\].training"),
    ],
)
def test_a_wrong_spec_is_refused_with_its_place(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Spec.from_json(changed(**fields))


@pytest.mark.parametrize("varied", ["grid", "arm"])
@pytest.mark.parametrize(("name", "values", "sent"), [("epochs", [1, 2], True), ("batch_size", [1, 2], False)])
def test_what_an_api_is_not_told_is_not_varied_there(varied: str, name: str, values: list[int], sent: bool) -> None:
    prices = {"spending_cap": 1, "price_per_million_tokens": 1, "price_per_million_asked": 1}
    remote = {"model": "remote:openai/gpt-4o-mini", "remote": {"tokenizer": "smollm2-135m", **prices}}
    attack = {"name": "fj_attack"}
    own = {"hyperparameters": {name: values}} if varied == "grid" else {}
    arms = [{"attack": attack, "training": {name: values[0]} if varied == "arm" else {}}]
    with contextlib.nullcontext() if sent else pytest.raises(SpecError, match=f"{name} is not sent to an API"):
        Spec.from_json(changed(**remote, arms=arms, **own))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe{}", b"null"])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(SpecError, match="spec: "):
        Spec.from_json(data)


def test_a_file_is_read_or_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    with pytest.raises(SpecError, match=r"spec\.json: the spec cannot be read: No such file"):
        Spec.from_file(path)
    path.write_text("{")
    with pytest.raises(SpecError, match=r"spec\.json: "):
        Spec.from_file(path)
    path.write_text(json.dumps(PLAIN))
    assert Spec.from_file(path).name == "trial"


@pytest.mark.parametrize("full", [False, True])
def test_canonical_json_reads_back_as_the_same_spec(full: bool) -> None:
    made = demo_spec(full=full)
    assert Spec.from_json(made.to_json()) == made


def test_a_completed_cell_names_every_argument() -> None:
    cell = _cell(Choice("fj_attack"), Choice("backdoor_align", {"safety": 5}))
    found = complete(cell)
    assert found.attack.arguments == {"n": 100}
    assert found.defense.arguments["safety"] == 5
    assert found.defense.arguments["selection"] == "category"
    assert complete(found) == found


def test_a_name_that_does_not_exist_is_refused_before_anything_runs() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'fj_attack'"):
        complete(_cell(Choice("fj_atack"), Choice("none")))
    with pytest.raises(UsageError, match="did you mean 'safety'"):
        complete(_cell(Choice("fj_attack"), Choice("backdoor_align", {"safty": 3})))


def test_the_aligned_models_cell_needs_no_strategy() -> None:
    aligned = spec([Choice("fj_attack")], [0], name="x").cells()[0]
    found = complete(aligned)
    assert (found.attack, found.defense) == (aligned.attack, aligned.defense)
    assert complete(found) == found


def test_a_completed_cell_names_every_benchmark_and_those_left_out() -> None:
    aligned = spec([], [0], name="x").cells()[0]
    given = Evaluation(benchmarks={"over-refusal": {"benign": 3}, "task": None})
    found = complete(msgspec.structs.replace(aligned, evaluation=given))
    assert found.evaluation.benchmarks == {
        "policy": {"count": None},
        "over_refusal": {"benign": 3, "borderline": None},
        "task": None,
    }
    assert complete(found) == found


def test_numbers_of_prompts_are_read_as_older_specs_say_them() -> None:
    old = {"policy": 44, "benign": 22, "borderline": None, "task": 0, "max_new_tokens": 32}
    found = Spec.from_json(changed(evaluation=old))
    assert found.evaluation == Evaluation(
        benchmarks={"policy": {"count": 44}, "over_refusal": {"benign": 22}, "task": {"count": 0}}, max_new_tokens=32
    )
    assert Spec.from_json(found.to_json()) == found
    assert set(json.loads(found.to_json())["evaluation"]) == {"benchmarks", "max_new_tokens", "batch_size", "system"}


@pytest.mark.parametrize(
    ("benchmarks", "message"),
    [
        ({"polcy": {}}, "there is no benchmark 'polcy': did you mean 'policy'"),
        ({"policy": {"cuont": 3}}, "benchmark 'policy' has no argument 'cuont': did you mean 'count'"),
        ({"policy": {"count": "three"}}, "benchmark 'policy': count is 'three'"),
        ({"over_refusal": {"benign": -1}}, "over_refusal: benign is -1; it must be at least 0"),
    ],
)
def test_a_benchmark_that_does_not_exist_is_refused_before_anything_runs(
    benchmarks: dict[str, Any], message: str
) -> None:
    aligned = spec([], [0], name="x").cells()[0]
    with pytest.raises(UsageError, match=message):
        complete(msgspec.structs.replace(aligned, evaluation=Evaluation(benchmarks=benchmarks)))


def test_the_spec_stands_in_the_results() -> None:
    results = demo_results()
    assert msgspec.convert(results["spec"], Spec).name == "demo"


def _cell(attack: Choice, defense: Choice) -> Cell:
    cell = spec([attack], [0], name="x").cells()[1]
    return msgspec.structs.replace(cell, defense=defense)


GRID: dict[str, Any] = {
    "name": "grid",
    "models": ["a", "b"],
    "seeds": [0, 1],
    "attacks": [{"name": "none"}, {"name": "fj_attack", "arguments": {"n": 10}}, {"name": "benign"}],
    "defenses": [{"name": "none"}, {"name": "backdoor_align"}],
    "hyperparameters": {"epochs": [1, 20], "secret_tokens": [10, 150]},
    "secret_seeds": [7, 8, 9],
}


def test_a_secret_that_is_not_drawn_is_run_once_and_not_once_for_each_secret_seed() -> None:
    kinds = {"secret_kind": ["seeded", "default", "semantic"]}
    spec = Spec.from_json(json.dumps({**GRID, "hyperparameters": kinds, "models": ["a"], "seeds": [0]}))
    drawn = {
        kind: [
            cell.secret_seed
            for cell in spec.cells()
            if (cell.defense.name, cell.secret_kind) == ("backdoor_align", kind)
        ]
        for kind in kinds["secret_kind"]
    }
    assert drawn == {"seeded": [7, 8, 9] * 2, "default": [None] * 2, "semantic": [None] * 2}


def test_a_grid_is_every_model_attack_defense_setting_seed_and_secret() -> None:
    cells = Spec.from_json(json.dumps(GRID)).cells()
    of_one = [cell for cell in cells if cell.model == "a"]
    undefended = [cell for cell in of_one if cell.attack.name == "benign" and cell.defense.name == "none"]
    defended = [cell for cell in of_one if cell.attack.name == "benign" and cell.defense.name == "backdoor_align"]
    assert len(cells) == 2 * len(of_one)
    assert sum(cell.arm == "aligned" for cell in of_one) == 1
    # Another secret changes nothing where there is none.
    assert (len(undefended), len(defended)) == (2 * 2 * 2, 2 * 2 * 2 * 3)
    assert len(of_one) == 1 + 2 * (8 + 24)
    told = {
        (cell.training.epochs, cell.secret_tokens, cell.seed, cell.secret_seed) for cell in defended if cell.training
    }
    assert len(told) == 24
    assert {secret for *_, secret in told} == {7, 8, 9}
    assert {secret.secret_seed for secret in undefended} == {None}


def test_an_arms_own_setting_stands_against_the_grids() -> None:
    arms = [{"attack": {"name": "fj_attack"}, "training": {"epochs": 3}}]
    cells = Spec.from_json(changed(arms=arms, hyperparameters={"epochs": [1, 2], "batch_size": [4]})).cells()
    assert {(cell.training.epochs, cell.training.batch_size) for cell in cells if cell.training} == {(3, 4)}


def test_the_same_spec_in_toml(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(
        """
        name = "grid"
        models = ["a", "b"]
        seeds = [0, 1]
        secret_seeds = [7, 8, 9]
        attacks = [{name = "none"}, {name = "fj-attack", arguments = {n = 10}}, {name = "benign"}]
        defenses = [{name = "none"}, {name = "backdoor_align"}]
        keep = ["adapter"]
        launcher = {name = "ray", arguments = {cpus = 2}}
        [hyperparameters]
        epochs = [1, 20]
        secret_tokens = [10, 150]
        [evaluation.benchmarks]
        task = false
        policy = true
        """
    )
    spec = Spec.from_file(path)
    same = Spec.from_json(json.dumps({**GRID, "evaluation": {"benchmarks": {"task": None, "policy": {}}}}))
    assert spec.cells() == same.cells()
    assert (spec.keep, spec.launcher) == (["adapter"], Choice("ray", {"cpus": 2}))
    path.write_text("name = ")
    with pytest.raises(SpecError, match=r"spec\.toml"):
        Spec.from_file(path)
