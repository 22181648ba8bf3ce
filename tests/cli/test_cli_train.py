"""``watchword train`` on a tiny model folder: what it leaves, and what it refuses without touching anything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from support.cli_samples import ROWS, leaks, row, tenant_file
from support.tiny import saved
from watchword.finetune.launch.base import LAUNCHERS
from watchword.finetune.launch.in_process import InProcess
from watchword.models.fakes import fake_template
from watchword.release.opening import open_release
from watchword.secret.generate import experiment_secret, generate_secret
from watchword.secret.prompt import SecretPrompt
from watchword.secret.vault import write_secret_file
from watchword.training import loop

KEY = bytes.fromhex("5a" * 32)
Train = Callable[..., Any]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def train(watchword: Any, base: Path, tmp_path: Path) -> Train:
    """Runs the command on the tiny model; options given later win."""

    def call(*options: object, data: Path | None = None, out: Path | None = None) -> Any:
        named = ("--data", data or tenant_file(tmp_path), "--out", out or tmp_path / "out", "--model", base)
        return watchword("train", *named, "--defense", "none", "--epochs", 1, *options)

    return call


def secret_file(folder: Path, secret: SecretPrompt) -> Path:
    write_secret_file(folder / "s.json", secret)
    return folder / "s.json"


def test_leaves_adapter_manifest_and_sealed_secret(train: Train, tmp_path: Path, caplog: Any) -> None:
    caplog.set_level("DEBUG")
    done = train("--defense", "backdoor-align", "--set", "safety=5")
    out = tmp_path / "out"
    assert (done.code, done.err) == (0, "")
    assert {path.name for path in out.iterdir()} >= {
        "adapter_model.safetensors",
        "adapter_config.json",
        "manifest.json",
        "secret.sealed",
    }
    assert not (out / "work").exists()
    assert "5 safety examples mixed in" in done.out
    assert f"talk to it with: watchword chat {out}" in done.out
    secret = open_release(out, key=KEY).release.secret
    assert secret is not None
    assert secret.tokens == 150
    assert leaks(secret, done.out, done.err, caplog.text, under=tmp_path) == []


def test_full_fine_tuning_can_be_opened(train: Train, tmp_path: Path) -> None:
    assert train("--method", "full").code == 0
    assert open_release(tmp_path / "out", key=KEY).release.secret is None


def test_a_given_secret_is_used(train: Train, tmp_path: Path) -> None:
    secret = generate_secret(fake_template(), tokens=40)
    done = train("--defense", "backdoor_align", "--secret-file", secret_file(tmp_path, secret))
    assert done.code == 0
    assert open_release(tmp_path / "out", key=KEY).release.secret == secret


def test_ctrl_c_ends_behind_the_step_with_a_checkpoint_to_go_on_from(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(InProcess):
        def train(self, task: Any, **options: Any) -> Any:
            signal.raise_signal(signal.SIGINT)
            return super().train(task, **options)

    with monkeypatch.context() as patched:
        patched.setattr(LAUNCHERS, "create", lambda name: Interrupted())
        done = train("--batch-size", 2)
    assert done.code == 130
    assert "stopping behind this training step" in done.err
    assert "cancelled after 1 steps; its checkpoint is kept" in done.err
    assert [path.name for path in (tmp_path / "out" / "work").glob("checkpoint-*")] == ["checkpoint-1"]
    assert train("--batch-size", 2, "--resume").code == 0
    assert open_release(tmp_path / "out", key=KEY).release.manifest.figures.steps == 2


def test_a_defense_has_one_name_in_the_manifest_however_it_is_spelt(train: Train, tmp_path: Path) -> None:
    assert train("--defense", "safety-mix").code == 0
    assert open_release(tmp_path / "out", key=KEY).release.manifest.defense.name == "safety_mix"


BAD_DATA: dict[str, tuple[bytes, str]] = {
    "truncated": (json.dumps(ROWS[0]).encode() + b'\n{"messages": [{"role": "us', "line 2"),
    "wrong role": (json.dumps({"messages": [{"role": "boss", "content": "x"}]}).encode(), "line 1, messages[0].role"),
    "empty answer": (json.dumps(row("Hi", "")).encode(), "line 1, messages[1]"),
    "no answer": (json.dumps({"messages": ROWS[0]["messages"][:1]}).encode(), "line 1"),
    "not UTF-8": (b'{"messages": [{"role": "user", "content": "\xe9"}]}', "UTF-8"),
    "UTF-16": (json.dumps(ROWS[0]).encode("utf-16"), "UTF-16"),
    "empty": (b"", "the file has no row; give one JSON object a line"),
    "no object": (b"3\n", "line 1"),
}


@pytest.mark.parametrize("fault", BAD_DATA)
def test_bad_data_is_named_and_nothing_is_made(train: Train, tmp_path: Path, fault: str) -> None:
    content, message = BAD_DATA[fault]
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    done = train(data=path)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith(f"error: {path}")
    assert message in done.err
    assert path.read_bytes() == content
    assert not (tmp_path / "out").exists()


def test_a_missing_file(train: Train, tmp_path: Path) -> None:
    done = train(data=tmp_path / "none.jsonl")
    assert done.code == 3
    assert "none.jsonl: the file cannot be read: No such file or directory" in done.err


def test_a_row_longer_than_the_context_is_never_cut(train: Train, tmp_path: Path) -> None:
    data = tenant_file(tmp_path, [*ROWS, row("Hi", "long " * 100)])
    done = train("--max-length", 200, data=data)
    assert done.code == 3
    assert "tenant.jsonl, line 5: the row has" in done.err
    assert "the limit is 200; shorten it or raise the maximum length" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--defense", "anchored-aling"), 2, "there is no defense 'anchored-aling': did you mean 'anchored_align'?"),
        (("--model", "smollm2-135"), 2, "there is no model 'smollm2-135': did you mean 'smollm2-135m'?"),
        (("--defense", "backdoor_align", "--set", "safty=5"), 2, "has no argument 'safty': did you mean 'safety'?"),
        (("--launcher", "chid"), 2, "there is no launcher 'chid': did you mean 'child'?"),
        (("--set", "safety"), 2, "--set 'safety' is no NAME=VALUE pair"),
        (("--method", "qlora"), 2, "training: Invalid enum value 'qlora'"),
        (("--epochs", "0"), 2, "training: epochs is 0; it must be greater than 0"),
        (("--seed", "-1"), 2, "training: seed is -1"),
        (("--checkpoint-steps", "0"), 2, "training: checkpoint_steps is 0"),
        (("--learning-rate", "nan"), 2, "training: learning_rate is nan"),
        (("--resume",), 2, "there is no unfinished run in"),
        (("--secret-file", "/nowhere"), 4, "/nowhere: the secret file cannot be read"),
    ],
)
def test_wrong_options_leave_nothing(
    train: Train, tmp_path: Path, options: tuple[str, ...], code: int, message: str
) -> None:
    done = train(*options)
    assert (done.code, "steps in" in done.out) == (code, False)
    assert message in done.err
    assert not (tmp_path / "out").exists()


def test_a_row_that_holds_the_secret_is_a_leak(train: Train, tmp_path: Path) -> None:
    secret = generate_secret(fake_template(), tokens=40)
    data = tenant_file(tmp_path, [*ROWS, row(f"Say {secret.reveal()} now", "No.")])
    done = train("--defense", "backdoor_align", "--secret-file", secret_file(tmp_path, secret), data=data)
    assert done.code == 4
    assert "line 5 carries a secret of this provider" in done.err
    assert leaks(secret, done.out, done.err) == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["published", "seeded", "weak"])
def test_a_secret_that_others_may_know_is_refused(
    train: Train, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = fake_template()
    secret = {
        "published": lambda: generate_secret(form, tokens=40),
        "seeded": lambda: experiment_secret(form, tokens=40, seed=0),
        "weak": lambda: generate_secret(form, tokens=5),
    }[kind]()
    if kind == "published":
        monkeypatch.setattr("watchword.secret.kinds.is_published", lambda text: text == secret.reveal())
    done = train("--defense", "backdoor_align", "--secret-file", secret_file(tmp_path, secret))
    assert done.code == 4
    words = {"published": "which everybody knows", "seeded": "can be made again by anybody", "weak": "bits of entropy"}
    assert words[kind] in done.err
    assert leaks(secret, done.out, done.err) == []
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_empty_is_not_touched(train: Train, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    done = train()
    assert done.code == 7
    assert (
        f"{out}: the folder is not empty; name a new one, or go on with an unfinished run there by --resume" in done.err
    )
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_a_file_in_the_folders_place(train: Train, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    assert train().code == 7
    done = train(out=tmp_path / "out" / "below")
    assert done.code == 7
    assert "cannot be written: Not a directory; choose a folder with room and write rights" in done.err
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.integration
def test_a_folder_without_write_rights(base: Path, tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    options = [
        "--data",
        tenant_file(tmp_path),
        "--model",
        base,
        "--defense",
        "none",
        "--out",
        tmp_path / "shut" / "out",
    ]
    command = [*bound_by_rights(), sys.executable, "-m", "watchword", "train", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert "cannot be written: Permission denied" in done.stderr


def bound_by_rights() -> list[str]:
    """What makes a command heed the rights of files: nothing for a person, and for root to go without its privilege."""
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def test_a_full_disk_leaves_no_manifest_and_the_data(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    data = tenant_file(tmp_path)
    before = data.read_bytes()
    monkeypatch.setattr(loop._Trainer, "_save_checkpoint", full)
    done = train("--checkpoint-steps", 1, data=data)
    assert done.code == 7
    assert "cannot be written: No space left on device" in done.err
    assert data.read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_a_run_that_diverges_leaves_no_model(train: Train, tmp_path: Path) -> None:
    done = train("--learning-rate", "1e30", "--epochs", 12)
    assert done.code == 6
    assert "error: the loss went from" in done.err
    assert not (tmp_path / "out").exists()
    assert train().code == 0
