"""``watchword chat``: several turns, the secret applied and never shown, and no answer without it."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from cli_samples import leaks, tenant_file
from tiny import saved

from watchword.chat.types import Conversation
from watchword.finetune import Job, Served, defended, opened
from watchword.models.fakes import FakeModel
from watchword.secret.prompt import SecretPrompt
from watchword.training.config import TrainingConfig

KEY = bytes.fromhex("5a" * 32)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    training = TrainingConfig(epochs=1, lora_rank=2)
    job = Job(
        model=str(saved(root / "base")),
        data=tenant_file(root),
        defense="backdoor_align",
        training=training,
        secret_tokens=40,
    )
    defended(job, root / "run", key=KEY, step=lambda *told: None)
    return root / "run"


@pytest.fixture
def fake(run: Path, monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """The run's secret on a model that recites it, and counts the turns it was asked."""
    served = opened(run, key=KEY)
    assert served.secret is not None
    text = served.secret.reveal()

    def recite(conv: Conversation) -> str:
        return f"{len(conv.messages)} messages, {text[2:30]}."

    made = FakeModel("plain", answers_with_secret=recite)
    fake_served = Served(made, served.defense, served.manifest, served.secret)  # type: ignore[arg-type]
    monkeypatch.setattr("watchword.finetune.opened", lambda folder, key: fake_served)
    return made


def secret_of(run: Path) -> SecretPrompt:
    secret = opened(run, key=KEY).secret
    assert secret is not None
    return secret


def test_one_message_gets_one_answer(watchword: Any, run: Path) -> None:
    secret = secret_of(run)
    done = watchword("chat", run, "-m", "Hi", "--max-new-tokens", 8)
    assert (done.code, done.err) == (0, "")
    assert done.out.strip()
    assert leaks(secret, done.out) == []


def test_the_same_seam_as_everywhere_answers(watchword: Any, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from watchword.models.load import LoadedModel

    seen: list[SecretPrompt | None] = []

    def generate(
        self: LoadedModel, conversations: Any, *, secret: SecretPrompt | None = None, **rest: Any
    ) -> list[str]:
        seen.append(secret)
        return ["Hello."]

    monkeypatch.setattr(LoadedModel, "generate", generate)
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


def secret_of_fake(run: Path) -> SecretPrompt:
    import watchword.finetune as finetune

    secret = finetune.opened(run, key=KEY).secret
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
    from watchword.models.load import LoadedModel

    seen: list[bool] = []

    def generate(
        self: LoadedModel, conversations: Any, *, secret: SecretPrompt | None = None, **rest: Any
    ) -> list[str]:
        seen.append(secret is not None)
        return ["Hello there."] * len(conversations)

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
