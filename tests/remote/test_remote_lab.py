"""Experiments at an API: the same cells, no job paid for twice, and nothing beyond the cap."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.remote_parts import KEY_ENV, QUICK, RemoteSide, remote_side
from watchword.errors import SpecError, UsageError
from watchword.lab import runner
from watchword.lab.remote import SPENDING, RemoteBench
from watchword.lab.runner import run_spec
from watchword.lab.spec import Spec
from watchword.lab.store import CellResult, Store
from watchword.remote.spending import Spending

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteSide]:
    with remote_side(tmp_path_factory.mktemp("side")) as side:
        yield side


@pytest.fixture(autouse=True)
def _ready(remote: RemoteSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, remote.key)
    monkeypatch.setattr(runner, "RemoteBench", lambda *given: RemoteBench(*given, QUICK))


def spec(url: str, **changed: Any) -> Spec:
    attack = {"name": "fj_attack", "arguments": {"n": 10}}
    settings = {
        "tokenizer": "smollm2-135m",
        "url": url,
        "spending_cap": 5,
        "price_per_million_tokens": 100,
        "price_per_million_asked": 1,
    }
    given = {
        "name": "remote",
        "model": "remote:watchword/smollm2-135m",
        "remote": settings | changed,
        "seeds": [0],
        "secret_tokens": 40,
        "training": {"epochs": 2},
        "evaluation": {"benchmarks": {"policy": {"count": 1}, "over_refusal": {"benign": 1, "borderline": 0}}},
        "arms": [{"attack": attack}, {"attack": attack, "defense": {"name": "backdoor_align"}}],
    }
    return Spec.from_json(msgspec.json.encode(given))


def run(asked: Spec, root: Path) -> list[CellResult]:
    return run_spec(asked, Store(root), lanes=lambda _: lambda *told: None, say=lambda _: None)


def test_cells_are_run_there_and_paid_for_once(remote: RemoteSide, tmp_path: Path) -> None:
    before = len(remote.jobs())
    cells = run(spec(remote.url), tmp_path)
    assert len(remote.jobs()) == before + 2
    assert [cell.defense for cell in cells] == ["none", "backdoor_align"]
    for cell in cells:
        assert cell.train is not None
        assert cell.train.loss == [2.5, 1.5]
        assert cell.metrics["asr"].n == 1
    assert "asr_without_secret" in cells[1].metrics
    spent = Spending(tmp_path / SPENDING, 5)
    assert 0 < spent.total < 5
    # What was killed before it was stored finds the job that it has paid for.
    shutil.rmtree(tmp_path / "cells")
    run(spec(remote.url), tmp_path)
    assert len(remote.jobs()) == before + 2
    trainings = [
        name for name in msgspec.json.decode((tmp_path / SPENDING).read_bytes()) if name.startswith("training")
    ]
    assert len(trainings) == 2


@pytest.mark.parametrize("changed", [{"price_per_million_tokens": 1e6}, {"spending_cap": 0}])
def test_nothing_is_created_beyond_the_cap(remote: RemoteSide, tmp_path: Path, changed: dict[str, float]) -> None:
    before = len(remote.jobs())
    with pytest.raises(UsageError, match="spending_cap"):
        run(spec(remote.url, **changed), tmp_path)
    assert len(remote.jobs()) == before


@pytest.mark.parametrize(
    ("attack", "defense", "benchmarks", "words"),
    [
        ({"name": "overwriting"}, "none", {}, "trained once"),
        ({"name": "fj_attack"}, "safe_lora", {}, "choose a defense that is rows alone"),
        ({"name": "benign_outliers", "arguments": {"form": "gradient"}}, "none", {}, "needs the model's weights"),
        ({"name": "fj_attack"}, "none", {"perplexity": {"path": "ROWS"}}, "'perplexity' asks how likely texts are"),
    ],
)
def test_what_cannot_be_done_there_is_found_before_the_first_job(
    remote: RemoteSide, tmp_path: Path, attack: object, defense: str, benchmarks: object, words: str
) -> None:
    before, rows = len(remote.jobs()), tmp_path / "rows.jsonl"
    rows.write_text('{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}')
    given = msgspec.json.decode(spec(remote.url).to_json())
    given["arms"].append({"attack": attack, "defense": {"name": defense}})
    given["evaluation"]["benchmarks"] |= benchmarks
    with pytest.raises(UsageError, match=words):
        run(Spec.from_json(msgspec.json.encode(given).replace(b"ROWS", str(rows).encode())), tmp_path / "run")
    assert len(remote.jobs()) == before


def test_cells_are_run_there_in_the_order_of_the_spec(remote: RemoteSide, tmp_path: Path) -> None:
    told = list[str]()
    given = msgspec.json.decode(spec(remote.url).to_json())
    given["arms"] = [{"attack": {"name": "none"}}, *given["arms"][:1]]
    asked = Spec.from_json(msgspec.json.encode(given))
    run_spec(asked, Store(tmp_path), lanes=lambda _: lambda *told: None, say=told.append)
    assert [line.partition(",")[0] for line in told[::2]] == ["the aligned model", "fj_attack × none"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"name": "x", "model": "remote:openai/m", "arms": [], "seeds": [0]}', "needs the field remote"),
        ('{"name": "x", "model": "m", "arms": [], "seeds": [0], "remote": REMOTE}', "others have none"),
        ('{"name": "x", "model": "remote:openai", "arms": [], "seeds": [0], "remote": REMOTE}', "PROFILE/MODEL"),
    ],
)
def test_a_spec_that_cannot_be_run(text: str, words: str) -> None:
    settings = '{"tokenizer": "t", "spending_cap": 1, "price_per_million_tokens": 1, "price_per_million_asked": 1}'
    with pytest.raises(SpecError, match=words):
        Spec.from_json(text.replace("REMOTE}", f"{settings}}}"))


def test_the_papers_recipe_is_the_papers_and_can_be_run(tmp_path: Path) -> None:
    found = Spec.from_file(ROOT / "specs" / "paper" / "gpt-3.5-turbo.json")
    assert found.remote
    assert (found.training.epochs, found.remote.hyperparameters["learning_rate_multiplier"]) == (5, 1)
    attacked = [arm for arm in found.arms if arm.attack.name == "fj_attack"]
    assert {arm.attack.arguments["n"] for arm in attacked} == {100}
    assert [arm.defense.arguments.get("safety") for arm in attacked] == [None, 11, 11]
    assert found.note
    bench = RemoteBench(found.model, found.remote, Store(tmp_path), {})
    assert bench.place.api.chosen({**found.remote.hyperparameters, "n_epochs": found.training.epochs})
