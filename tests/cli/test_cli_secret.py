"""``watchword secret``: files that only their owner reads, and words about them that give nothing away."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from watchword.models.facts import ModelFacts
from watchword.models.fakes import fake_template
from watchword.secret.vault import read_secret_file


@pytest.fixture(autouse=True)
def _toy_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchword.models.facts.facts_of", lambda name: ModelFacts(name, fake_template(), None, name))


def shown_nothing(path: Path, text: str) -> bool:
    secret = json.loads(path.read_text())["text"]
    return not any(secret[at : at + 8] in text for at in range(len(secret) - 7))


def test_new_writes_a_private_file_and_prints_no_text(watchword: Any, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    done = watchword("secret", "new", "--out", path, "--tokens", 40)
    assert (done.code, done.err) == (0, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "random secret, 40 tokens" in done.out
    assert "fingerprint" in done.out
    assert shown_nothing(path, done.out)
    assert read_secret_file(path).kind == "random"
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.json"]


def test_show_says_the_same_as_new(watchword: Any, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    made = watchword("secret", "new", "--out", path, "--tokens", 40)
    shown = watchword("secret", "show", path)
    assert (shown.code, shown.out) == (0, made.out)
    assert shown_nothing(path, shown.out)


def test_a_wide_umask_does_not_open_the_file(watchword: Any, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        watchword("secret", "new", "--out", tmp_path / "s.json", "--tokens", 20)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "s.json").stat().st_mode) == 0o600


def test_a_secret_is_never_overwritten(watchword: Any, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    watchword("secret", "new", "--out", path, "--tokens", 20)
    before = path.read_bytes()
    done = watchword("secret", "new", "--out", path, "--tokens", 20)
    assert done.code == 7
    assert "exists already; a secret is never overwritten" in done.err
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there(watchword: Any, tmp_path: Path) -> None:
    done = watchword("secret", "new", "--out", tmp_path / "none" / "s.json", "--tokens", 20)
    assert (done.code, done.out) == (7, "")
    assert "cannot be written" in done.err


def test_seeded_secrets_repeat(watchword: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        watchword("secret", "new", "--out", tmp_path / name, "--kind", "seeded", "--seed", 3, "--tokens", 20)
    assert read_secret_file(tmp_path / "a") == read_secret_file(tmp_path / "b")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--kind", "randm"),
            "there is no kind of secret 'randm': did you mean 'random'? choose one of random, seeded",
        ),
        (("--kind", "seeded"), "a seeded secret needs a seed"),
        (("--tokens", "0"), "0 tokens; give at least 1"),
        (("--tokens", "many"), "Invalid value for '--tokens'"),
    ],
)
def test_wrong_use(watchword: Any, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = watchword("secret", "new", "--out", tmp_path / "s.json", *arguments)
    assert done.code == 2
    assert message in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"violet anchor seven", b"\xff\xfe\x00"])
def test_what_is_no_secret_file_is_not_quoted(watchword: Any, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(content)
    path.chmod(0o600)
    done = watchword("secret", "show", path)
    assert done.code == 4
    assert "is no secret file" in done.err
    assert "violet" not in done.err


def test_a_file_that_others_may_read_is_refused(watchword: Any, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    watchword("secret", "new", "--out", path, "--tokens", 20)
    path.chmod(0o640)
    done = watchword("secret", "show", path)
    assert done.code == 4
    assert "chmod 600" in done.err


def test_a_key_that_is_no_key(watchword: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.json"
    watchword("secret", "new", "--out", path, "--tokens", 20)
    monkeypatch.setenv("WATCHWORD_KEY", "abc")
    done = watchword("secret", "show", path)
    assert done.code == 4
    assert "WATCHWORD_KEY is no key: it must hold 64 hex digits" in done.err
    assert "abc" not in done.err.replace("abcdef", "")


def test_a_wrong_key_leaves_no_secret_behind(watchword: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHWORD_KEY", "zz")
    done = watchword("secret", "new", "--out", tmp_path / "s.json", "--tokens", 40)
    assert (done.code, list(tmp_path.iterdir())) == (4, [])


def test_a_random_secret_takes_no_seed(watchword: Any, tmp_path: Path) -> None:
    done = watchword("secret", "new", "--out", tmp_path / "s.json", "--seed", 3)
    assert (done.code, list(tmp_path.iterdir())) == (2, [])
    assert "--seed 3 is for --kind seeded; a random secret has none" in done.err
