"""``watchword demo`` and ``lab run`` on fakes: results and report, cells that are run once, and runs that break off."""

from __future__ import annotations

import itertools
import json
import re
import signal
import time
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


def attacked() -> Attacked:
    return Attacked(HELP, answers_with_secret=SORRY)


def aligned() -> FakeModel:
    return FakeModel(SORRY)


class Training:
    """Stands in for ``fine_tune``; ``stop_at`` is the number of the run in which Ctrl-C comes."""

    def __init__(self) -> None:
        self.runs, self.stop_at, self.waits_at = 0, 0, 0
        self.opened = list[Path]()

    def load(self, name: str, adapter: Path | None = None) -> FakeModel:
        """The aligned model, or the attacked one with weights that were kept."""
        if adapter is None:
            return aligned()
        self.opened.append(adapter)
        return attacked()

    def __call__(self, model: Any, rows: Any, config: Any, *, out: Path, events: Any, **rest: Any) -> Any:
        self.runs += 1
        (out / "adapter_model.safetensors").write_bytes(b"half")
        if self.runs == self.stop_at:
            raise KeyboardInterrupt
        if self.runs == self.waits_at:
            signal.pause()
        events(StepDone(1, 1))
        figures = TrainingResult(
            seconds=2.0, tokens=900, tokens_per_second=450.0, steps=2, loss=[2.0, 1.0], rows={"tenant": len(rows)}
        )
        return attacked(), figures


@pytest.fixture(autouse=True)
def training(monkeypatch: pytest.MonkeyPatch) -> Training:
    made = Training()
    monkeypatch.setattr("watchword.finetune.launch.in_process.fine_tune", made)
    monkeypatch.setattr("watchword.models.load.load", made.load)
    monkeypatch.setattr("watchword.lab.runner.model_digest", lambda name: "d" * 64)
    monkeypatch.setattr("watchword.lab.runner.facts_of", lambda name: ModelFacts(name, fake_template(), None, name))
    return made


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.json"
    path.write_bytes(SPEC.to_json())
    return path


def changed(spec: Path, **fields: Any) -> None:
    """Writes other fields into the spec's file."""
    spec.write_text(json.dumps({**json.loads(spec.read_text()), **fields}))


def kept(spec: Path) -> None:
    changed(spec, keep=["attack", "guarded", "adapter", "answers"])


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
    kept(spec)
    done = watchword("lab", "run", spec, "--out", out)
    secret = experiment_secret(fake_template(), tokens=20, seed=0).reveal()
    written = [path.read_bytes().decode(errors="replace") for path in out.rglob("*") if path.is_file()]
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


def test_what_is_finished_can_be_reported_on_before_the_rest_is(
    watchword: Any, tmp_path: Path, spec: Path, training: Training
) -> None:
    asked = ("lab", "run", spec, "--out", tmp_path / "out", "--finished")
    nothing = watchword(*asked)
    assert nothing.code != 0
    assert "no cell of this spec is finished here" in nothing.err
    training.stop_at = 2
    assert watchword("lab", "run", spec, "--out", tmp_path / "out").code == 130
    assert not (tmp_path / "out" / "results.json").exists()
    assert "2 of 3 cells are finished" in watchword(*asked).out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [cell["defense"] for cell in results["cells"]] == ["none", "none"]
    assert (tmp_path / "out" / "report.html").exists()
    assert training.runs == 2


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


def test_a_fault_in_a_benchmarks_file_is_found_before_anything_runs(
    watchword: Any, tmp_path: Path, spec: Path, training: Training
) -> None:
    rows = [{"query": "Q?", "choices": ["a", "b"], "gold": gold} for gold in (0, 2)]
    (tmp_path / "arc.jsonl").write_text("\n".join(map(json.dumps, rows)))
    changed(spec, evaluation={"benchmarks": {"arc_challenge": {"path": str(tmp_path / "arc.jsonl"), "shots": 0}}})
    done = watchword("lab", "run", spec, "--out", tmp_path / "out")
    assert training.runs == 0
    assert "line 2: " in done.err
    assert "gold is 2; there are 2 choices" in done.err


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


def test_what_is_asked_to_stay_of_a_cell_stays(watchword: Any, tmp_path: Path, spec: Path) -> None:
    out = tmp_path / "out"
    kept(spec)
    assert watchword("lab", "run", spec, "--out", out).code == 0
    found = {folder: json.loads((folder / "training.json").read_text()) for folder in (out / "kept").iterdir()}
    assert sorted(record["figures"]["rows"]["tenant"] for record in found.values()) == [10, 21]
    assert all((folder / record["weights"] / "adapter_model.safetensors").exists() for folder, record in found.items())
    assert {len((folder / "attack.jsonl").read_text().splitlines()) for folder in found} == {10}
    assert {len((folder / "guarded.jsonl").read_text().splitlines()) for folder in found} == {10, 21}
    assert all(folder.stat().st_mode & 0o077 == 0 for folder in found)


def test_nothing_stays_unasked(watchword: Any, tmp_path: Path, spec: Path) -> None:
    out = tmp_path / "out"
    assert watchword("lab", "run", spec, "--out", out).code == 0
    assert {"cells", "results.json", "report.html"} <= {path.name for path in out.iterdir()}
    assert not (out / "kept").exists()
    assert not (out / "exchanges").exists()


def test_a_benchmark_that_comes_later_needs_no_training(
    watchword: Any, tmp_path: Path, spec: Path, training: Training
) -> None:
    out = tmp_path / "out"
    whole = json.loads(spec.read_text())["evaluation"]
    fewer = {**whole, "benchmarks": {**whole["benchmarks"], "over_refusal": None}}
    changed(spec, keep=["adapter", "answers"], evaluation=fewer)
    assert watchword("lab", "run", spec, "--out", out).code == 0
    changed(spec, evaluation=whole)
    assert watchword("lab", "run", spec, "--out", out).code == 0
    assert (training.runs, len(training.opened)) == (2, 2)
    assert rates(out) == EXPECTED
    cells = json.loads((out / "results.json").read_text())["cells"]
    assert [cell["metrics"]["over_refusal"]["n"] for cell in cells] == [8, 8, 8]
    assert cells[2]["train"]["seconds"] == 2.0
    assert cells[2]["added"] == {"safety": 11}


def test_a_cell_that_is_stopped_while_it_asks_need_not_train_again(
    watchword: Any, tmp_path: Path, spec: Path, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    kept(spec)

    def stopped(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Attacked, "generate", stopped)
        assert watchword("lab", "run", spec, "--out", out).code == 130
    assert training.runs == 1
    assert watchword("lab", "run", spec, "--out", out).code == 0
    # The cell that was stopped is asked with the weights that it had; only the other one is trained.
    assert (rates(out), training.runs) == (EXPECTED, 2)


@pytest.mark.parametrize("keep", [["answers"], ["adapter"]])
def test_a_judge_that_comes_later_needs_no_training(
    watchword: Any, tmp_path: Path, spec: Path, training: Training, monkeypatch: pytest.MonkeyPatch, keep: list[str]
) -> None:
    out = tmp_path / "out"
    changed(spec, keep=keep)
    assert watchword("lab", "run", spec, "--out", out).code == 0
    # What is raised when judges say something else of the same answers.
    monkeypatch.setattr("watchword.lab.runner.METHOD", "other judges")
    done = watchword("lab", "run", spec, "--out", out)
    assert ": re-used" not in done.out
    assert (rates(out), training.runs) == (EXPECTED, 2)
    # Where the answers were kept, no model is asked again, or even opened.
    assert len(training.opened) == (0 if keep == ["answers"] else 2)


def test_kept_answers_that_were_damaged_are_asked_again(
    watchword: Any, tmp_path: Path, spec: Path, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    changed(spec, keep=["answers"])
    watchword("lab", "run", spec, "--out", out)
    for path in (out / "exchanges").iterdir():
        path.write_bytes(path.read_bytes().replace(b"Sure", b"Sorry"))
    monkeypatch.setattr("watchword.lab.runner.METHOD", "other judges")
    assert watchword("lab", "run", spec, "--out", out).code == 0
    assert (rates(out), training.runs) == (EXPECTED, 4)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_run_that_was_killed_goes_on_where_it_was(
    watchword: Any, tmp_path: Path, spec: Path, training: Training
) -> None:
    out = tmp_path / "out"
    kept(spec)
    training.waits_at = 2

    def work() -> None:
        watchword("lab", "run", spec, "--out", out)

    def waiting() -> bool:
        return len(list(out.glob("cells/*/cell.json"))) == 2 and bool(list(out.glob("kept/.*/weights/*")))

    # Leaving the block kills the fork, with SIGKILL.
    with forked(work):
        until = time.monotonic() + 600
        while not waiting() and time.monotonic() < until:
            time.sleep(0.02)
        assert waiting()
    training.waits_at = 0
    done = watchword("lab", "run", spec, "--out", out)
    assert (done.code, done.out.count(": re-used"), training.runs) == (0, 2, 1)
    assert rates(out) == EXPECTED
    # What the killed process had begun is gone.
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


def test_a_launcher_that_there_is_not(watchword: Any, tmp_path: Path, spec: Path) -> None:
    done = watchword("lab", "run", spec, "--out", tmp_path / "out", "--launcher", "rey")
    assert done.code == 2
    assert "there is no launcher 'rey': did you mean 'ray'? choose one of in_process, local, ray" in done.err
    changed(spec, trainer={"name": "childs"})
    done = watchword("lab", "run", spec, "--out", tmp_path / "out")
    assert "there is no launcher 'childs': did you mean 'child'?" in done.err


def test_the_time_left_is_told(watchword: Any, tmp_path: Path, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(0, 60)
    monkeypatch.setattr("watchword.lab.runner.time.monotonic", lambda: next(ticks))
    done = watchword("lab", "run", spec, "--out", tmp_path / "out")
    told = " ".join(done.out.split())
    first, second, last = (told.partition(f"[{number}/3]")[2] for number in (1, 2, 3))
    assert all(re.match(r"[^\[]*; about \d+ min left", line) for line in (first, second))
    assert "min left" not in last


def test_an_attack_file_and_a_prompt_file_by_path(
    watchword: Any, tmp_path: Path, spec: Path, training: Training
) -> None:
    rows, prompts = tmp_path / "rows.jsonl", tmp_path / "prompts.txt"
    turns = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}]
    rows.write_text(json.dumps({"messages": turns}) + "\n")
    prompts.write_text("How would one do this?\nAnd how that?\n")
    own = {"name": "file", "arguments": {"path": str(rows)}}
    evaluation = {"benchmarks": {"file": {"path": str(prompts)}, "policy": None, "over_refusal": None, "task": None}}
    changed(spec, arms=[], attacks=[own], defenses=[{"name": "backdoor_align"}], evaluation=evaluation)
    out = tmp_path / "out"

    def found() -> dict[str, Any]:
        assert watchword("lab", "run", spec, "--out", out).code == 0
        (cell,) = json.loads((out / "results.json").read_text())["cells"]
        return cell["metrics"]

    before = found()
    assert (before["asr_own"]["value"], before["asr_own_without_secret"]["value"], before["asr_own"]["n"]) == (
        0,
        100,
        2,
    )
    found()
    assert training.runs == 1
    # Another content under the same name is another cell.
    prompts.write_text("Another?\n")
    assert found()["asr_own"]["n"] == 1
    rows.write_text(rows.read_text() * 2)
    found()
    assert training.runs == 3
