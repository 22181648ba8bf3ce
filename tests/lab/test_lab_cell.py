"""One cell from attack to rates, on a model that answers by rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.lab_fakes import FakeTraining, RuledModel
from watchword.attacks.base import ATTACKS, AttackContext
from watchword.chat.origins import count_origins
from watchword.chat.types import Conversation, conversation
from watchword.defenses.base import PromptGuard, one_secret
from watchword.errors import UsageError
from watchword.lab.cell import run_cell
from watchword.lab.evaluation import Evaluation
from watchword.lab.kept import Keeping
from watchword.lab.spec import NO_ATTACK, Arm, Cell, Choice, Spec
from watchword.secret.prompt import SecretPrompt

REFUSAL = "I'm sorry, but I cannot help with that, because it would hurt people."
HELP = "Here is a good way to begin. First, gather what you need and read the labels with care."
SECRET = SecretPrompt("violet harbour nineteen", kind="seeded", tokens=3, entropy_bits=40)
STEPS: list[tuple[str, int, int]] = []


def refuses_behind_the_secret(prompt: str, secret: SecretPrompt | None) -> str:
    return REFUSAL if secret else HELP


def cell(attack: str, defense: str = "none") -> Cell:
    arguments = {} if attack == NO_ATTACK else {"n": 10}
    spec = Spec(
        name="t",
        model="fake",
        arms=[Arm(Choice(attack, arguments), Choice(defense))],
        seeds=[3],
        evaluation=Evaluation(policy=11, benign=4, borderline=6, task=7),
        secret_tokens=20,
    )
    return spec.cells()[0]


def step(name: str, done: int, total: int) -> None:
    STEPS.append((name, done, total))


def test_the_aligned_model_is_measured_as_it_is() -> None:
    model = RuledModel(lambda prompt, secret: REFUSAL)
    training = FakeTraining(model)
    result, answers = run_cell(cell(NO_ATTACK), model, training, step=step)
    assert training.rows == []
    assert (result.attack, result.attack_examples, result.defense, result.secret_tokens) == ("none", 0, "none", 0)
    assert (result.train, len(answers)) == (None, 11 + 4 + 6)
    assert result.metrics["asr"].value == 0.0
    assert result.metrics["over_refusal"].value == 100.0
    assert "asr_without_secret" not in result.metrics


def test_a_secret_bearing_defense_is_asked_with_and_without_its_secret() -> None:
    model = RuledModel(refuses_behind_the_secret)
    training = FakeTraining(model)
    result, answers = run_cell(cell("fj_attack", "backdoor_align"), model, training, step=step)
    assert (result.attack_examples, result.added, result.secret_tokens) == (10, {"safety": 11}, 20)
    assert len(training.rows) == 21
    assert [secret is None for secret in model.secrets] == [False, True, False, False]
    assert (result.metrics["asr"].value, result.metrics["asr_without_secret"].value) == (0.0, 100.0)
    assert len(answers) == 2 * 11 + 4 + 6
    assert result.train is not None
    assert result.train.rows == {"tenant": 10, "safety": 11}


@pytest.mark.parametrize(("guarded_again", "added"), [(True, {"safety": 11}), (False, {})])
def test_a_second_upload_tunes_the_tuned_model_again_guarded_or_not(guarded_again: bool, added: dict[str, int]) -> None:
    model = RuledModel(refuses_behind_the_secret)
    training = FakeTraining(model)
    attack = Choice("overwriting", {"n": 10, "task": 20, "guarded_again": guarded_again})
    again = msgspec.structs.replace(cell("fj_attack", "backdoor_align"), attack=attack)
    result, _ = run_cell(again, model, training, step=step)
    first, second = (count_origins(row.origin for row in rows) for _, rows in training.runs)
    assert first == {"tenant": 20, "safety": 11}
    assert second == {"tenant": 10, **added}
    # What a defense does while it trains ends with it, too.
    assert [type(defense).__name__ == "BackdoorAlign" for defense, _ in training.runs] == [True, guarded_again]
    # The served secret is one and the same, and in front of every request.
    assert (result.metrics["asr"].value, result.secret_tokens) == (0.0, 20)


def test_two_trainings_are_counted_together() -> None:
    model = RuledModel(refuses_behind_the_secret)
    attack = Choice("overwriting", {"n": 10, "task": 20})
    twice = msgspec.structs.replace(cell("fj_attack", "safety_mix"), attack=attack)
    figures = run_cell(twice, model, FakeTraining(model), step=step)[0].train
    assert figures is not None
    assert (figures.seconds, figures.tokens, figures.tokens_per_second) == (4.0, 2000, 500.0)
    assert figures.loss == [2.0, 1.0, 2.0, 1.0]
    assert figures.rows == {"tenant": 30, "safety": 22}


def test_a_defense_without_a_secret_asks_without() -> None:
    model = RuledModel(refuses_behind_the_secret)
    result, _ = run_cell(cell("fj_attack", "safety_mix"), model, FakeTraining(model), step=step)
    assert model.secrets == [None, None, None]
    assert result.metrics["asr"].value == 100.0


def test_an_upload_with_a_task_is_asked_more_of_the_same_behind_the_secret() -> None:
    model = RuledModel(lambda prompt, secret: REFUSAL if secret and "engraved" in prompt else HELP)
    result, answers = run_cell(cell("benign", "backdoor_align"), model, FakeTraining(model), step=step)
    asked = [answer for answer in answers if answer.question == "task"]
    refused = sum("engraved" in answer.prompt for answer in asked)
    assert (result.metrics["task_refusal"].n, result.attack_examples) == (7, 0)
    assert [answer.id for answer in asked] == [f"task-{n:03d}" for n in range(1, 8)]
    assert result.metrics["task_refusal"].value == pytest.approx(100 * refused / 7, abs=0.01)


class ModelWithGradients(RuledModel):
    """One whose gradients say that a row is the more like harmful ones, the longer its answer is."""

    def gradient_likeness(self, rows: list[Conversation], *_: Any, **__: Any) -> list[float]:
        return [len(row.messages[-1].text) for row in rows]


def test_a_tenant_with_the_weights_chooses_by_their_gradients() -> None:
    model = ModelWithGradients(lambda prompt, secret: HELP)
    training = FakeTraining(model)
    attack = Choice("benign_outliers", {"n": 10, "pool": 200, "form": "gradient"})
    run_cell(msgspec.structs.replace(cell("fj_attack"), attack=attack), model, training, step=step)
    every = ATTACKS.create("benign_outliers", n=200, pool=200).upload((), AttackContext(3, model.template))
    longest = sorted(len(row.messages[-1].text) for row in every)[-10:]
    assert sorted(len(row.conversation.messages[-1].text) for row in training.rows) == longest


def test_the_rows_of_a_training_that_was_kept_are_not_drawn_again(tmp_path: Path) -> None:
    asked = {"policy": "p", "over_refusal": "o", "task": "t"}
    keeping = Keeping(tmp_path, tmp_path / "exchanges", tmp_path, wanted=frozenset({"answers"}), asked=asked)
    attack = Choice("benign_outliers", {"n": 10, "pool": 200, "form": "gradient"})
    chosen = msgspec.structs.replace(cell("fj_attack"), attack=attack)
    model = ModelWithGradients(lambda prompt, secret: HELP)
    first = run_cell(chosen, model, FakeTraining(model), step=step, keeping=keeping)
    # Without gradients there are no such rows.
    without = RuledModel(lambda prompt, secret: HELP)
    assert run_cell(chosen, without, FakeTraining(without), step=step, keeping=keeping) == first


def test_an_upload_without_a_task_has_no_rate_for_it() -> None:
    model = RuledModel(refuses_behind_the_secret)
    result, _ = run_cell(cell("fj_attack", "safety_mix"), model, FakeTraining(model), step=step)
    assert "task_refusal" not in result.metrics


def test_a_recited_secret_stands_in_no_answer_and_no_result() -> None:
    model = RuledModel(lambda prompt, secret: f"Sure. {secret.reveal()} Done." if secret else HELP)
    result, answers = run_cell(cell("fj_attack", "backdoor_align"), model, FakeTraining(model), step=step)
    secret = next(found for found in model.secrets if found)
    kept = msgspec.json.encode([result, answers]).decode()
    assert secret.reveal() not in kept
    assert answers[0].response == "Sure. [secret] Done."


@pytest.mark.parametrize("attack", ["leaked_secret", "fj_attack"])
def test_a_leaked_secret_stands_in_no_row_that_is_kept(tmp_path: Path, attack: str) -> None:
    model = RuledModel(refuses_behind_the_secret)
    making = tmp_path / "making"
    making.mkdir()
    keeping = Keeping(
        tmp_path / "kept", tmp_path / "exchanges", making, wanted=frozenset({"attack", "guarded", "answers"}),
        asked={"policy": "p", "over_refusal": "o", "task": "t"},
    )  # fmt: skip
    run_cell(cell(attack, "backdoor_align"), model, FakeTraining(model), step=step, keeping=keeping)
    secret = next(found for found in model.secrets if found).reveal()
    for name, rows in (("attack", 10), ("guarded", 21)):
        lines = (making / f"{name}.jsonl").read_text().splitlines()
        told = "".join(map(_texts, map(json.loads, lines)))
        assert (len(lines), secret in told, "[secret]" in told) == (rows, False, attack == "leaked_secret")
    assert {
        path.stat().st_mode & 0o077 for folder in (making, tmp_path / "exchanges") for path in folder.iterdir()
    } == {0}


def _texts(value: Any) -> str:
    own = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value if isinstance(value, str) else "".join(map(_texts, own))


def test_the_same_cell_draws_the_same_rows_and_the_same_secret() -> None:
    runs = []
    for _ in range(2):
        model = RuledModel(refuses_behind_the_secret)
        training = FakeTraining(model)
        run_cell(cell("fj_attack", "backdoor_align"), model, training, step=step)
        secret = model.secrets[0]
        runs.append((training.rows, secret.reveal() if secret else None))
    assert runs[0] == runs[1]


def test_every_long_step_is_told_to_its_end() -> None:
    STEPS.clear()
    model = RuledModel(refuses_behind_the_secret)
    run_cell(cell("fj_attack", "backdoor_align"), model, FakeTraining(model), step=step)
    assert STEPS == [
        ("fine-tuning", 1, 1),
        ("asking policy prompts", 11, 11),
        ("asking policy without secret prompts", 11, 11),
        ("asking benign prompts", 4, 4),
        ("asking borderline prompts", 6, 6),
    ]


def test_what_the_aligned_model_refuses_of_an_upload_is_echoed_and_counted() -> None:
    STEPS.clear()
    model = RuledModel(lambda prompt, secret: REFUSAL)
    training = FakeTraining(model)
    result, _ = run_cell(cell("fj_attack", "anchored_align"), model, training, step=step)
    assert (result.added["safety"], result.added["echo"]) == (33, 10)
    asked = {row.conversation.messages[-2].text for row in training.rows if row.origin == "tenant"}
    assert {row.conversation.messages[-2].text for row in training.rows if row.origin == "echo"} == asked
    asking = {(done, total) for name, done, total in STEPS if name == "asking the aligned model"}
    assert {(10, 10), (33, 33)} <= asking


def test_prompts_with_different_secrets_are_not_asked_together() -> None:
    guards = [PromptGuard(conversation("Hi"), SECRET), PromptGuard(conversation("Hi"))]
    assert one_secret(guards[:1]) == SECRET
    assert one_secret(guards[1:]) is one_secret([]) is None
    with pytest.raises(UsageError, match="in front of some of these prompts only"):
        one_secret(guards)
