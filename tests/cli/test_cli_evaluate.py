"""``watchword evaluate`` on models that answer by rule: figures, intervals, secrets, and outputs that are whole or absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from watchword.chat.types import Conversation
from watchword.models.fakes import HELP, FakeModel, fake_template
from watchword.secret.generate import generate_secret
from watchword.secret.vault import write_secret_file

# A refusal by the paper's keywords and by our own judge.
SORRY = "I'm sorry, but I cannot help with that, because it would hurt people."


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("One?\nTwo?\nThree?\nFour?\n")
    return path


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """Refuses "One?", says nothing to "Two?", helps with the rest; refuses everything behind a secret."""
    made = FakeModel({"One?": SORRY, "Two?": "", "": HELP}, answers_with_secret=SORRY)
    monkeypatch.setattr("watchword.models.load.load", lambda name, **options: made)
    return made


def metrics(path: Path) -> dict[str, dict[str, float | None]]:
    found = json.loads(path.read_text())
    assert set(found) == {"schema", "metrics"}
    assert found["schema"] == 1
    return found["metrics"]


def test_the_json_has_the_published_form(watchword: Any, tmp_path: Path, prompts: Path, model: FakeModel) -> None:
    out = tmp_path / "out.json"
    done = watchword("evaluate", "--prompts", prompts, "--json", out)
    assert (done.code, done.err) == (0, "")
    asr = metrics(out)["asr"]
    assert set(asr) == {"value", "low", "high", "n", "unscored"}
    assert (asr["value"], asr["n"], asr["unscored"]) == (pytest.approx(200 / 3, abs=0.01), 3, 1)
    # Wilson, 2 of 3: 20.8 to 93.9.
    assert (asr["low"], asr["high"]) == (pytest.approx(20.8, abs=0.1), pytest.approx(93.9, abs=0.1))
    assert "asr by refusal_keywords: 66.7 % [20.8, 93.9], n = 3, unscored 1 (coverage 75.0 %)" in done.out


def test_over_refusal_counts_the_other_side(watchword: Any, tmp_path: Path, prompts: Path, model: FakeModel) -> None:
    out = tmp_path / "out.json"
    done = watchword("evaluate", "--prompts", prompts, "--metric", "over_refusal", "--judge", "refusal", "--json", out)
    assert done.code == 0
    assert metrics(out)["over_refusal"]["value"] == pytest.approx(100 / 3, abs=0.01)


def test_nothing_scored_has_no_rate(
    watchword: Any, tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watchword.models.load.load", lambda name, **options: FakeModel(""))
    out = tmp_path / "out.json"
    done = watchword("evaluate", "--prompts", prompts, "--json", out)
    assert done.code == 0
    assert "no answer could be scored" in done.out
    assert metrics(out)["asr"] == {"value": None, "low": None, "high": None, "n": 0, "unscored": 4}


def test_answers_are_kept_with_their_verdicts(watchword: Any, tmp_path: Path, prompts: Path, model: FakeModel) -> None:
    kept = tmp_path / "answers.jsonl"
    watchword("evaluate", "--prompts", prompts, "--answers", kept)
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [(row["prompt"], row["refused"]) for row in rows] == [
        ("One?", True),
        ("Two?", None),
        ("Three?", False),
        ("Four?", False),
    ]
    assert rows[1]["unscored"]


def test_options_reach_the_model(watchword: Any, prompts: Path, model: FakeModel) -> None:
    options = ("--limit", 2, "--system", "Be brief.", "--max-new-tokens", 7, "--batch-size", 3)
    assert watchword("evaluate", "--prompts", prompts, *options).code == 0
    assert [request.prompt for request in model.requests] == ["One?", "Two?"]
    assert {request.conversation.system for request in model.requests} == {"Be brief."}
    assert {(request.options.max_new_tokens, request.options.batch_size) for request in model.requests} == {(7, 3)}


def test_a_secret_file_goes_in_front_and_never_out(
    watchword: Any, tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = generate_secret(fake_template(), tokens=30)
    write_secret_file(tmp_path / "s.json", secret)

    def recites(conv: Conversation) -> str:
        return f"Sure: {secret.reveal()}, and {secret.reveal()[3:25]}."

    model = FakeModel(HELP, answers_with_secret=recites)
    monkeypatch.setattr("watchword.models.load.load", lambda name, **options: model)
    kept = tmp_path / "answers.jsonl"
    done = watchword("evaluate", "--prompts", prompts, "--secret-file", tmp_path / "s.json", "--answers", kept)
    assert done.code == 0
    assert all(request.with_secret for request in model.requests)
    shown = done.out + done.err + kept.read_text()
    assert not any(secret.reveal()[at : at + 16] in shown for at in range(len(secret.reveal()) - 15))


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (
            ("--judge", "refusl"),
            2,
            "there is no judge 'refusl': did you mean 'refusal'? choose one of raw_keywords, ref",
        ),
        (("--metric", "acc"), 2, "there is no metric 'acc': choose one of asr, asr_strict, asr_raw, asr_trained"),
        (("--model", "smollm2-135"), 2, "there is no model 'smollm2-135': did you mean 'smollm2-135m'?"),
        (("--limit", "0"), 2, "Invalid value for '--limit'"),
        (("--batch-size", "0"), 2, "generation: batch_size is 0; it must be at least 1"),
        (("--max-new-tokens", "0"), 2, "generation: max_new_tokens is 0"),
        (("--secret-file", "/nowhere"), 4, "/nowhere: the secret file cannot be read"),
        (("--adapter", "/nowhere"), 5, "/nowhere: the adapter for 'smollm2-135m' is not complete"),
    ],
)
def test_wrong_options(watchword: Any, prompts: Path, options: tuple[str, ...], code: int, message: str) -> None:
    done = watchword("evaluate", "--prompts", prompts, *options)
    assert done.code == code
    assert message in done.err
    assert "asr" not in done.out


@pytest.mark.parametrize("option", ["--json", "--answers"])
def test_an_output_that_cannot_be_written(
    watchword: Any, tmp_path: Path, prompts: Path, model: FakeModel, option: str
) -> None:
    done = watchword("evaluate", "--prompts", prompts, option, prompts / "in-a-file.json")
    assert done.code == 7
    assert "cannot be written: Not a directory; choose a folder with room and write rights" in done.err


def test_a_full_disk_leaves_the_old_figures(
    watchword: Any, tmp_path: Path, prompts: Path, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.json"
    out.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    done = watchword("evaluate", "--prompts", prompts, "--json", out)
    assert done.code == 7
    assert f"{out}: the output cannot be written: No space left on device" in done.err
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "prompts.txt"]
