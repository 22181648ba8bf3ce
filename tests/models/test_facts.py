"""A model's folder that is damaged: one message that names the file, whatever is wrong in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.guarding_rows import template
from watchword.errors import ModelUnavailableError, UsageError
from watchword.files.addresses import Address
from watchword.guarding.checking import CheckRequest, check_source
from watchword.models.facts import _context, facts_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    form = template("smollm2")
    form.tokenizer.save(str(tmp_path / "tokenizer.json"))
    config = {
        "chat_template": form.source,
        "eos_token": {"content": "<|im_end|>"},
        "bos_token": {},
        "pad_token": None,
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 512}))
    return tmp_path


def test_a_whole_folder(folder: Path) -> None:
    found = facts_of(str(folder))
    assert found.context == 512
    assert found.template.special == {"eos_token": "<|im_end|>"}


@pytest.mark.parametrize(
    ("text", "context"),
    [
        ("{}", None),
        ('{"text_config": null}', None),
        ('{"text_config": {"max_position_embeddings": 9}}', 9),
        ('{"max_position_embeddings": null, "text_config": {}}', None),
        ('{"max_position_embeddings": 0}', None),
    ],
)
def test_contexts(tmp_path: Path, text: str, context: int | None) -> None:
    assert _context(tmp_path) is None
    (tmp_path / "config.json").write_text(text)
    assert _context(tmp_path) == context


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("tokenizer.json", b"{"),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b"\xff"),
        ("tokenizer_config.json", b"[]"),
        ("tokenizer_config.json", b"{"),
        ("tokenizer_config.json", b"\xff"),
        ("chat_template.jinja", b"\xff"),
        ("config.json", b"[]"),
        ("config.json", b"{"),
        ("config.json", b'{"max_position_embeddings": "many"}'),
        ("config.json", b'{"text_config": []}'),
    ],
)
def test_a_damaged_file_is_named(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    with pytest.raises(
        ModelUnavailableError, match=rf"{folder}/{name}: the file (is damaged|cannot be read) \(.*; fetch it again"
    ):
        facts_of(str(folder))


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelUnavailableError, match=rf"no model folder.*{name}"):
        facts_of(str(folder))


@pytest.mark.parametrize("length", [0, -5])
def test_validation_refuses_a_length_that_is_none(length: int) -> None:
    with pytest.raises(UsageError, match=f"`max_length` is {length}; give the trainer's limit in tokens"):
        check_source(CheckRequest(Address.parse("x"), max_length=length))


def test_a_folder_is_named_as_it_is_found_from_anywhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert facts_of(folder.name).location == str(folder)
