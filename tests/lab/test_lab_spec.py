"""A spec is decoded strictly and becomes the grid that it names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.lab_samples import demo_results, spec
from watchword.errors import SpecError, UnknownNameError, UsageError
from watchword.lab.demo import demo_spec
from watchword.lab.spec import Cell, Choice, Evaluation, Spec, complete

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
        ({"training": {"epochs": 0}}, "epochs is 0"),
        ({"training": {"epochs": "three"}}, "epochs"),
        ({"seeds": []}, "seeds is empty"),
        ({"seeds": [1, 1]}, "each may stand once"),
        ({"arms": []}, "arms is empty"),
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
