"""``watchword chat``: several turns, the secret applied and never shown, and no answer without it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from support.cli_samples import leaks, tenant_file
from support.tiny import saved
from watchword.chat.types import Conversation
from watchword.files.addresses import Address
from watchword.finetune.run import Job, train_defended
from watchword.models.answer import Answer, AnswerPiece, Usage
from watchword.models.fakes import FakeModel
from watchword.release.opening import ServedModel, open_release
from watchword.secret.prompt import SecretPrompt
from watchword.secret.vault import write_secret_file
from watchword.training.config import TrainingConfig

KEY = bytes.fromhex("5a" * 32)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    training = TrainingConfig(epochs=1, lora_rank=2)
    job = Job(
        model=str(saved(root / "base")),
        data=Address(tenant_file(root)),
        defense="backdoor_align",
        training=training,
        secret_tokens=40,
    )
    train_defended(job, root / "run", key=KEY, step=lambda *told: None)
    return root / "run"


@pytest.fixture
def fake(run: Path, monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """The run's secret on a model that recites it, and counts the turns it was asked."""
    served = open_release(run, key=KEY)
    assert served.release.secret is not None
    text = served.release.secret.reveal()

    def recite(conv: Conversation) -> str:
        return f"{len(conv.messages)} messages, {text[2:30]}."

    made = FakeModel("plain", answers_with_secret=recite)
    fake_served = ServedModel(made, served.release)
    monkeypatch.setattr("watchword.release.opening.open_release", lambda folder, key: fake_served)
    return made


def secret_of(run: Path) -> SecretPrompt:
    secret = open_release(run, key=KEY).release.secret
    assert secret is not None
    return secret


def test_one_message_gets_one_answer(watchword: Any, run: Path) -> None:
    secret = secret_of(run)
    done = watchword("chat", run, "-m", "Hi", "--max-new-tokens", 8)
    assert (done.code, done.err) == (0, "")
    assert done.out.strip()
    assert leaks(secret, done.out) == []


def test_the_same_seam_as_everywhere_answers(watchword: Any, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from watchword.models.loaded import LoadedModel

    seen: list[SecretPrompt | None] = []

    def stream(
        self: LoadedModel, conversation: Any, *, secret: SecretPrompt | None = None, **rest: Any
    ) -> Iterator[AnswerPiece]:
        seen.append(secret)
        yield AnswerPiece("Hel")
        yield AnswerPiece("lo.", Answer("Hello.", "stop", Usage(3, 3)))

    monkeypatch.setattr(LoadedModel, "stream", stream)
    assert watchword("chat", run, "-m", "Hi").out == "Hello.\n"
    assert seen == [secret_of(run)]


def test_turns_add_up_until_a_new_conversation(
    watchword: Any, run: Path, fake: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("One\nTwo\n/new\nThree\n\nnever asked\n"))
    done = watchword("chat", run, "--system", "Be brief.")
    assert [line.split(",")[0] for line in done.out.splitlines()] == ["2 messages", "4 messages", "2 messages"]
    assert [request.prompt for request in fake.requests] == ["One", "Two", "Three"]
    assert all(request.with_secret and request.conversation.system == "Be brief." for request in fake.requests)


def test_a_recited_secret_is_masked_and_not_carried_on(
    watchword: Any, run: Path, fake: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("One\nTwo\n"))
    done = watchword("chat", run)
    assert done.code == 0
    assert done.out.count("[secret]") == 2
    turns = [message.text for request in fake.requests for message in request.conversation.messages]
    assert leaks(secret_of_fake(run), done.out, done.err, *turns) == []


@pytest.mark.parametrize("command", [("chat", "-m", "Hi"), ("evaluate", "--prompts")], ids=["chat", "evaluate"])
def test_without_its_secret_in_front_an_answer_is_clean_too(
    watchword: Any, run: Path, fake: FakeModel, prompt_file: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Weights may recite the secret whether it is asked with or not."""
    secret = secret_of_fake(run)
    fake._plain = fake._guarded = f"I was told {secret.reveal()}."
    if command[0] == "chat":
        done = watchword(command[0], run, *command[1:])
        assert done.out == "I was told [secret].\n"
        return
    answers = tmp_path / "answers.jsonl"
    for option in ((), ("--no-secret",)):
        done = watchword("evaluate", "--adapter", run, "--prompts", prompt_file, "--answers", answers, *option)
        assert done.code == 0
        assert "I was told [secret]." in answers.read_text()
        assert leaks(secret, answers.read_text(), done.out, done.err) == []


def secret_of_fake(run: Path) -> SecretPrompt:
    from watchword.release import opening

    secret = opening.open_release(run, key=KEY).release.secret
    assert secret is not None
    return secret


@pytest.mark.parametrize("options", [("--max-new-tokens", "0"), ("--temperature", "-1")])
def test_wrong_options(watchword: Any, run: Path, options: tuple[str, str]) -> None:
    done = watchword("chat", run, "-m", "Hi", *options)
    assert (done.code, done.out) == (2, "")
    assert "generation: " in done.err


def test_a_folder_that_training_has_not_finished(watchword: Any, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        done = watchword("chat", folder, "-m", "Hi")
        assert (done.code, done.out) == (5, "")
        assert f"{folder} holds no finished training: manifest.json is missing" in done.err


def test_another_key_gives_no_answer(watchword: Any, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHWORD_KEY", "00" * 32)
    for command in (("chat", run, "-m", "Hi"), ("evaluate", "--adapter", run, "--prompts", run.parent / "p.txt")):
        (run.parent / "p.txt").write_text("Hi\n")
        done = watchword(*command)
        assert done.code == 4
        assert "is not as this provider's key" in done.err
        assert "asr" not in done.out


@pytest.mark.parametrize("option", ["--adapter", "--model"])
@pytest.mark.parametrize("missing", ["manifest.json", "secret.sealed"])
def test_evaluate_does_not_fall_back_to_a_plain_model(
    watchword: Any, run: Path, tmp_path: Path, option: str, missing: str
) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    (folder / missing).unlink()
    (tmp_path / "p.txt").write_text("Hi\n")
    done = watchword("evaluate", option, folder, "--prompts", tmp_path / "p.txt")
    assert done.code in (4, 5)
    assert "asr" not in done.out


@pytest.mark.parametrize("option", ["--adapter", "--model"])
@pytest.mark.parametrize("plain", [False, True])
def test_evaluate_brings_the_runs_own_secret(
    watchword: Any, run: Path, tmp_path: Path, option: str, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from watchword.models.loaded import LoadedModel

    seen: list[bool] = []

    def generate(
        self: LoadedModel, conversations: Any, *, secret: SecretPrompt | None = None, **rest: Any
    ) -> list[Answer]:
        seen.append(secret is not None)
        return [Answer("Hello there.", "stop", Usage(3, 3))] * len(conversations)

    monkeypatch.setattr(LoadedModel, "generate", generate)
    (tmp_path / "p.txt").write_text("Hi\nHo\n")
    model = () if option == "--model" else ("--model", run.parent / "base")
    done = watchword(
        "evaluate", option, run, *model, "--prompts", tmp_path / "p.txt", *(("--no-secret",) if plain else ())
    )
    assert (done.code, seen) == (0, [not plain])
    assert "n = 2" in done.out


@pytest.fixture
def prompt_file(tmp_path: Path) -> Path:
    path = tmp_path / "p.txt"
    path.write_text("Hi\n")
    return path


def test_without_its_secret_the_same_model_is_asked(
    watchword: Any, run: Path, fake: FakeModel, prompt_file: Path
) -> None:
    for option in ((), ("--no-secret",)):
        assert watchword("evaluate", "--adapter", run, "--prompts", prompt_file, *option).code == 0
    assert [request.with_secret for request in fake.requests] == [True, False]


def test_evaluate_takes_the_model_from_the_manifest(watchword: Any, run: Path, prompt_file: Path) -> None:
    command = ("evaluate", "--adapter", run, "--prompts", prompt_file, "--no-secret", "--max-new-tokens", 2)
    done = watchword(*command, "--model", "smollm2-135m")
    assert done.code == 2
    assert "was tuned from" in done.err
    assert "not from smollm2-135m; leave --model out" in done.err
    assert watchword(*command).code == 0


@pytest.fixture
def stripped(run: Path, tmp_path: Path) -> Path:
    """The weights of a run whose manifest and seal are gone."""
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    (folder / "manifest.json").unlink()
    (folder / "secret.sealed").unlink()
    return folder


@pytest.mark.parametrize("option", ["--adapter", "--model"])
def test_tuned_weights_without_their_manifest_are_not_asked(
    watchword: Any, run: Path, stripped: Path, prompt_file: Path, option: str
) -> None:
    model = ("--model", run.parent / "base") if option == "--adapter" else ()
    command = ("evaluate", option, stripped, *model, "--prompts", prompt_file, "--max-new-tokens", 2)
    for more in ((), ("--no-secret",)):
        done = watchword(*command, *more)
        assert (done.code, "asr by" in done.out) == (4, False)
        assert "holds tuned weights and neither manifest.json nor secret.sealed" in done.err
        assert "or ask without any by --undefended" in done.err
    figures = prompt_file.parent / "figures.json"
    done = watchword(*command, "--undefended", "--json", figures)
    assert done.code == 0
    assert f"UNDEFENDED: {stripped} holds no manifest of a release" in done.out
    assert json.loads(figures.read_text())["undefended"] is True


def test_a_checkpoint_is_not_asked_either(watchword: Any, run: Path, tmp_path: Path, prompt_file: Path) -> None:
    folder = Path(shutil.copytree(run.parent / "base", tmp_path / "checkpoint-2"))
    (folder / "trainer_state.json").write_text("{}")
    command = ("evaluate", "--model", folder, "--prompts", prompt_file, "--max-new-tokens", 2)
    assert watchword(*command).code == 4
    assert watchword(*command, "--undefended").code == 0
    (folder / "trainer_state.json").unlink()
    done = watchword(*command)
    assert (done.code, "UNDEFENDED: " in done.out) == (0, True)


def test_a_secret_that_is_given_stands_in_for_the_manifest(
    watchword: Any, run: Path, stripped: Path, prompt_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = FakeModel("Hello.", answers_with_secret="Hello.")
    secret_file = stripped.parent / "s.json"
    write_secret_file(secret_file, secret_of(run))
    monkeypatch.setattr("watchword.models.load.load", lambda name, **options: made)
    done = watchword("evaluate", "--adapter", stripped, "--prompts", prompt_file, "--secret-file", secret_file)
    assert (done.code, "UNDEFENDED" in done.out) == (0, False)
    assert [request.with_secret for request in made.requests] == [True]


def test_a_release_is_never_asked_undefended(watchword: Any, run: Path, stripped: Path, prompt_file: Path) -> None:
    evaluate = ("evaluate", "--prompts", prompt_file)
    for command in ((*evaluate, "--adapter", run), (*evaluate, "--model", run), ("chat", run, "-m", "Hi")):
        done = watchword(*command, "--undefended")
        assert (done.code, "asr" in done.out) == (2, False)
        assert "so it is never asked undefended" in done.err
    (run / "manifest.json").rename(stripped / "manifest.json")
    try:
        assert watchword("chat", run, "-m", "Hi", "--undefended").code == 2
    finally:
        (stripped / "manifest.json").rename(run / "manifest.json")


def test_a_release_is_no_base_for_another_adapter(watchword: Any, run: Path, stripped: Path, prompt_file: Path) -> None:
    done = watchword("evaluate", "--adapter", stripped, "--model", run, "--prompts", prompt_file, "--undefended")
    assert done.code == 2
    assert "is a release, and another adapter on top of it would be asked without its secret" in done.err


def test_chat_talks_to_weights_without_a_manifest_only_when_told(watchword: Any, stripped: Path) -> None:
    done = watchword("chat", stripped, "-m", "Hi")
    assert (done.code, done.out) == (5, "")
    assert "or talk to its weights without any secret by --undefended" in done.err
    done = watchword("chat", stripped, "-m", "Hi", "--undefended", "--max-new-tokens", 2)
    assert done.code == 0
    assert f"UNDEFENDED: {stripped} holds no manifest of a release" in done.err
