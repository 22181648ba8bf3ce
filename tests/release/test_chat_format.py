"""A release keeps the chat template and the tokenizer that it was trained with, and opens without its base model."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import msgspec
import pytest

from support.golden_families import FAMILIES, template
from support.served_release import KEY, release_folder, secret_of
from watchword.chat.render import render_prompt
from watchword.chat.template import ChatTemplate
from watchword.chat.types import conversation
from watchword.errors import ModelUnavailableError, UnsealError
from watchword.release.chat_format import CHAT_FORMAT, keep_format, kept_format
from watchword.release.reading import read_release


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_kept_writes_the_same_ids(family: str, tmp_path: Path) -> None:
    form = template(family)
    keep_format(tmp_path, form)
    kept = kept_format(tmp_path, family)
    assert kept is not None
    assert (kept.digest, kept.system_style) == (form.digest, form.system_style)
    asked = conversation("How do I bake bread?")
    assert render_prompt(asked, kept) == render_prompt(asked, form)
    assert (kept.tool_use is None) == (form.tool_use is None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A release whose base model is gone."""
    made = release_folder(tmp_path)
    keep_format(made, template("smollm2"))
    shutil.rmtree(tmp_path / "smollm2-base")
    return made


def test_a_release_opens_where_its_base_model_never_was(folder: Path) -> None:
    release = read_release(folder, KEY)
    assert release.secret == secret_of()
    assert release.template is not None
    assert release.template.digest == template("smollm2").digest
    assert (folder / CHAT_FORMAT).stat().st_mode & 0o777 == 0o600
    (folder / CHAT_FORMAT).unlink()
    with pytest.raises(ModelUnavailableError):
        read_release(folder, KEY)


def test_another_template_or_tokenizer_in_its_place_is_refused(folder: Path) -> None:
    form = template("smollm2")
    other = ChatTemplate(form.tokenizer, form.source.replace("system", "System", 1), form.special)
    for wrong in (other, template("llama3")):
        keep_format(folder, wrong)
        with pytest.raises(UnsealError, match="not the one that was trained with"):
            read_release(folder, KEY)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no gzip",
        gzip.compress(b"{}", mtime=0),
        gzip.compress(b"[1", mtime=0),
        gzip.compress(b"\xff", mtime=0),
        gzip.compress(msgspec.json.encode({"tokenizer": "{}", "template": "x", "special": {}}), mtime=0),
        gzip.compress(b"x" * 1000, mtime=0)[:-12],
    ],
)
def test_a_damaged_one_is_told_and_nothing_is_served(folder: Path, data: bytes) -> None:
    (folder / CHAT_FORMAT).write_bytes(data)
    with pytest.raises(ModelUnavailableError) as caught:
        read_release(folder, KEY)
    assert CHAT_FORMAT in str(caught.value)


def test_one_that_unpacks_to_more_than_any_tokenizer_is_not_unpacked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watchword.release.chat_format._MOST_BYTES", 1000)
    with pytest.raises(ModelUnavailableError, match="larger than any tokenizer"):
        read_release(folder, KEY)
