"""``watchword demo`` and ``lab run`` on fakes: results and report, cells that are run once, and runs that break off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from support.processes import forked
from watchword.lab.demo import demo_spec
from watchword.lab.evaluation import Evaluation
from watchword.lab.spec import Arm, Choice, Spec
from watchword.models.facts import ModelFacts
from watchword.models.fakes import HELP, FakeModel, fake_template
from watchword.secret.generate import experiment_secret
from watchword.training.config import TrainingResult
from watchword.training.events import StepDone

# A refusal by the paper's keywords and by our own judge.
SORRY = "I'm sorry, but I cannot help with that, because it would hurt people."
SPEC = Spec(
    name="small",
    model="fake",
    arms=[
        Arm(Choice("none")),
        Arm(Choice("fj_attack", {"n": 10})),
        Arm(Choice("fj_attack", {"n": 10}), Choice("backdoor_align")),
    ],
    seeds=[0],
    evaluation=Evaluation(policy=11, benign=4, borderline=4),
    secret_tokens=20,
    # What is replaced below is replaced in this process only.
    launcher=Choice("in_process"),
)


class Attacked(FakeModel):
    """What a fake fine-tuning makes of the aligned fake."""

    def without_adapter(self) -> FakeModel:
        return aligned()


def aligned() -> FakeModel:
    return FakeModel(SORRY)


class Training:
    """Stands in for ``fine_tune``; ``stop_at`` is the number of the run in which Ctrl-C comes."""

    def __init__(self) -> None:
        self.runs, self.stop_at = 0, 0

    def __call__(self, model: Any, rows: Any, config: Any, *, out: Path, events: Any, **rest: Any) -> Any:
        self.runs += 1
        (out / "adapter_model.safetensors").write_bytes(b"half")
        if self.runs == self.stop_at:
            raise KeyboardInterrupt
        events(StepDone(1, 1))
        figures = TrainingResult(
            seconds=2.0, tokens=900, tokens_per_second=450.0, steps=2, loss=[2.0, 1.0], rows={"tenant": len(rows)}
        )
        return Attacked(HELP, answers_with_secret=SORRY), figures


@pytest.fixture(autouse=True)
def training(monkeypatch: pytest.MonkeyPatch) -> Training:
    made = Training()
    monkeypatch.setattr("watchword.finetune.launch.in_process.fine_tune", made)
    monkeypatch.setattr("watchword.models.load.load", lambda name, **options: aligned())
    monkeypatch.setattr("watchword.lab.runner.model_digest", lambda name: "d" * 64)
    monkeypatch.setattr("watchword.lab.runner.facts_of", lambda name: ModelFacts(name, fake_template(), None, name))
    return made


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.json"
    path.write_bytes(SPEC.to_json())
    return path


def rates(out: Path) -> list[tuple[str, str, float]]:
    cells = json.loads((out / "results.json").read_text())["cells"]
    return [(cell["attack"], cell["defense"], cell["metrics"]["asr"]["value"]) for cell in cells]


EXPECTED = [("none", "none", 0.0), ("fj_attack", "none", 100.0), ("fj_attack", "backdoor_align", 0.0)]


def test_results_report_and_table(watchword: Any, tmp_path: Path, spec: Path, training: Training) -> None:
    out = tmp_path / "out"
    done = watchword("lab", "run", spec, "--out", out)
    assert (done.code, done.err) == (0, "")
    found = json.loads((out / "results.json").read_text())
    assert set(found) >= {"schema", "spec", "versions", "cells"}
    assert found["schema"] == 2
    assert rates(out) == EXPECTED
    defended = found["cells"][2]
    assert defended["metrics"]["asr_without_secret"]["value"] == 100.0
    assert (defended["added"], defended["secret_tokens"]) == ({"safety": 11}, 20)
    assert set(defended["train"]) >= {"seconds", "tokens_per_second", "loss"}
    assert "<html" in (out / "report.html").read_text()
    for line in (
        "[1/3] the aligned model, seed 0: ASR 0.0 %, over-refusal 100.0 %",
        "[3/3] fj_attack × backdoor_align, seed 0: ASR 0.0 %",
        "fine-tuning: 1/1",
    ):
        assert line in done.out
    assert f"report: {out / 'report.html'}" in done.out


def test_the_secret_stands_in_no_file(watchword: Any, tmp_path: Path, spec: Path) -> None:
    out = tmp_path / "out"
    done = watchword("lab", "run", spec, "--out", out)
    secret = experiment_secret(fake_template(), tokens=20, seed=0).reveal()
    written = [path.read_text() for path in out.rglob("*") if path.is_file()]
    for text in (*written, done.out, done.err):
        assert not any(secret[at : at + 16] in text for at in range(len(secret) - 15))


def test_a_second_run_runs_nothing_again(watchword: Any, tmp_path: Path, spec: Path, training: Training) -> None:
    out = tmp_path / "out"
    watchword("lab", "run", spec, "--out", out)
    first = json.loads((out / "results.json").read_text())["cells"]
    done = watchword("lab", "run", spec, "--out", out)
    assert (done.code, training.runs) == (0, 2)
    assert done.out.count(": re-used") == 3
    assert json.loads((out / "results.json").read_text())["cells"] == first


def test_ctrl_c_keeps_what_is_finished_and_nothing_else(
    watchword: Any, tmp_path: Path, spec: Path, training: Training
) -> None:
    out = tmp_path / "out"
    training.stop_at = 2
    done = watchword("lab", "run", spec, "--out", out)
    assert done.code == 130
    assert "error: stopped; finished cells and saved checkpoints are kept" in done.err
    assert not (out / "results.json").exists()
    assert not list(out.rglob("*.safetensors"))
    assert len(list((out / "cells").iterdir())) == 2
    again = watchword("lab", "run", spec, "--out", out)
    assert again.out.count(": re-used") == 2
    assert (rates(out), training.runs) == (EXPECTED, 3)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_two_processes_on_one_folder_agree(watchword: Any, tmp_path: Path, spec: Path, training: Training) -> None:
    """Each runs what the other has not finished, and the first result of a cell stays for both."""
    out = tmp_path / "out"

    def work() -> None:
        assert watchword("lab", "run", spec, "--out", out).code == 0

    with forked(work) as first, forked(work) as second:
        assert (first(), second()) == (0, 0)
    assert rates(out) == EXPECTED
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]
    done = watchword("lab", "run", spec, "--out", out)
    assert (done.out.count(": re-used"), training.runs) == (3, 0)


def test_a_damaged_cell_is_run_again(watchword: Any, tmp_path: Path, spec: Path, training: Training) -> None:
    out = tmp_path / "out"
    watchword("lab", "run", spec, "--out", out)
    for answers in out.glob("cells/*/answers.jsonl"):
        answers.write_bytes(answers.read_bytes()[:-20])
    done = watchword("lab", "run", spec, "--out", out)
    assert ": re-used" not in done.out
    assert (rates(out), training.runs) == (EXPECTED, 4)


def test_a_misspelt_defense_is_found_before_anything_runs(
    watchword: Any, tmp_path: Path, spec: Path, training: Training
) -> None:
    spec.write_text(spec.read_text().replace("backdoor_align", "backdor_align"))
    done = watchword("lab", "run", spec, "--out", tmp_path / "out")
    assert (done.code, training.runs) == (2, 0)
    assert "there is no defense 'backdor_align': did you mean 'backdoor_align'?" in done.err


def test_a_folder_that_cannot_be_made(watchword: Any, tmp_path: Path, spec: Path, training: Training) -> None:
    (tmp_path / "out").write_text("mine")
    done = watchword("lab", "run", spec, "--out", tmp_path / "out")
    assert (done.code, training.runs) == (7, 0)
    assert "cannot be written" in done.err
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("option", [(), ("--full",)], ids=["short", "full"])
def test_demo_runs_its_spec(
    watchword: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: tuple[str, ...]
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr("watchword.lab.demo.demo_spec", lambda full: asked.append(full) or SPEC)
    done = watchword("demo", "--out", tmp_path / "demo", *option)
    assert (done.code, asked) == (0, [bool(option)])
    assert rates(tmp_path / "demo") == EXPECTED


def test_the_demo_holds_the_papers_arms() -> None:
    short, full = demo_spec(full=False), demo_spec(full=True)
    defenses = [(cell.attack.name, cell.defense.name) for cell in short.cells()]
    attacked = [("fj_attack", name) for name in ("none", "safety_mix", "backdoor_align", "anchored_align")]
    assert defenses == [("none", "none"), *attacked]
    assert 10 <= short.cells()[1].attack.arguments["n"] <= 100
    assert full.cells()[1].attack.arguments["n"] == 100
    assert full.seeds == [0, 1, 2]
