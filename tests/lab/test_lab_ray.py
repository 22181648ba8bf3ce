"""Cells as tasks of a Ray cluster: several at once, and the store here holds what was run there."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from support.lab_runners import Meeting
from support.tiny import saved
from watchword.cli.app import run as command
from watchword.errors import UsageError
from watchword.files.digest import sha256_bytes
from watchword.lab.launch.base import CELL_LAUNCHERS, Told
from watchword.lab.launch.ray import packed, unpacked
from watchword.lab.spec import Arm, Cell, Choice, Spec
from watchword.lab.store import CellResult, Store


@pytest.fixture(scope="module")
def _cluster() -> Iterator[None]:
    """Two processors, each a worker."""
    import ray

    # Workers find the runners of these tests where pytest does.
    place = {"env_vars": {"PYTHONPATH": str(Path(__file__).parents[1])}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=place)
    yield
    ray.shutdown()


def tasks(*seeds: int) -> list[tuple[str, Cell]]:
    cells = Spec(name="t", model="m", arms=[Arm(Choice("fj_attack"))], seeds=list(seeds)).cells()
    return [(sha256_bytes(str(cell.seed).encode()), cell) for cell in cells]


def told(found: dict[str, CellResult]) -> Told:
    return Told(lambda lane: lambda *step: None, lambda cell: f"seed {cell.seed}", found.__setitem__, print)


@pytest.mark.peers("ray")
@pytest.mark.integration
def test_two_workers_run_cells_at_once(_cluster: None, tmp_path: Path) -> None:
    (tmp_path / "met").mkdir()
    store, found = Store(tmp_path / "store"), dict[str, CellResult]()
    CELL_LAUNCHERS.create("ray").run(Meeting(tmp_path / "met", 2, store), tasks(0, 1), told(found), None)
    assert sorted(result.seed for result in found.values()) == [0, 1]
    assert all(store.get(key) for key in found)
    assert len({path.read_text() for path in (tmp_path / "met").iterdir()}) == 2


@pytest.mark.peers("ray")
@pytest.mark.integration
def test_what_a_cell_raises_is_raised_here(_cluster: None, tmp_path: Path) -> None:
    (tmp_path / "met").mkdir()
    runner = Meeting(tmp_path / "met", 1, Store(tmp_path / "store"))
    with pytest.raises(UsageError, match="seed 9 cannot be run"):
        CELL_LAUNCHERS.create("ray").run(runner, tasks(9), told({}), 1)


@pytest.mark.peers("ray")
@pytest.mark.integration
def test_an_experiment_on_a_cluster_and_a_benchmark_that_comes_later(_cluster: None, tmp_path: Path) -> None:
    model = saved(tmp_path / "model")
    asked: dict[str, Any] = {"policy": {"count": 2}, "over_refusal": False, "task": False}
    told = {
        "name": "clustered",
        "model": str(model),
        "attacks": [{"name": "fj_attack", "arguments": {"n": 4}}],
        "defenses": [{"name": "none"}, {"name": "safety_mix"}],
        "seeds": [0],
        "training": {"epochs": 1, "lora_rank": 2},
        "keep": ["adapter"],
    }
    spec, out = tmp_path / "spec.json", tmp_path / "out"

    def kept() -> dict[str, float]:
        return {path.parent.name: path.stat().st_mtime for path in out.glob("kept/*/training.json")}

    for more in ({}, {"over_refusal": {"benign": 1, "borderline": 1}}):
        benchmarks = {**asked, **more}
        spec.write_text(json.dumps({**told, "evaluation": {"max_new_tokens": 2, "benchmarks": benchmarks}}))
        before = kept()
        assert command(["lab", "run", str(spec), "--out", str(out), "--launcher", "ray"]) == 0
    cells = json.loads((out / "results.json").read_text())["cells"]
    assert [set(cell["metrics"]) >= {"asr", "over_refusal"} for cell in cells] == [True, True]
    assert len(list((out / "cells").iterdir())) == 4
    # The weights of the first run travelled to the second, which trained nothing.
    assert len(before) == 2
    assert kept() == before


def test_without_ray_the_way_to_it_is_told(tmp_path: Path) -> None:
    if importlib.util.find_spec("ray") is not None:
        pytest.skip("Ray is installed here")
    runner = Meeting(tmp_path, 1, Store(tmp_path / "store"))
    with pytest.raises(UsageError, match="pip install ray"):
        CELL_LAUNCHERS.create("ray").run(runner, tasks(0), told({}), None)


@pytest.mark.parametrize("arguments", [{"cpus": 0}, {"gpus": -1}, {"cpus": "many"}])
def test_resources_that_there_are_not(arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"cpus|gpus"):
        CELL_LAUNCHERS.create("ray", **arguments)


def test_what_stands_in_the_store_is_not_replaced_by_what_comes_back(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    for root, text in ((there, "theirs"), (here, "ours")):
        (root / "cells" / "a").mkdir(parents=True)
        (root / "cells" / "a" / "cell.json").write_text(text)
    (there / "kept" / "b").mkdir(parents=True)
    unpacked(packed(there, ["cells", "kept", "exchanges"]), here)
    assert (here / "cells" / "a" / "cell.json").read_text() == "ours"
    assert (here / "kept" / "b").is_dir()
    assert {path.name for path in here.iterdir()} == {"cells", "kept"}
