"""A secret that the provider knows is found wherever a row can hold text, and where secrets are kept is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.chat.types import Conversation
from watchword.errors import SecretCollisionError, SecretError, UnsealError, UsageError
from watchword.secret.kept import kept_files, kept_secrets
from watchword.secret.known import KnownSecrets, collision, refuse_carriers
from watchword.secret.prompt import SecretPrompt
from watchword.secret.vault import seal, write_secret_file

KEY = bytes(range(32))
TEXT = 'violet "anchor" sév\\en'
SECRET = SecretPrompt(TEXT, kind="random", tokens=9, entropy_bits=150.0)
CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"city": "Rome"}'}}
TOOL = {"name": "look_up", "description": "d", "parameters": {"properties": {"city": {"enum": ["Rome", ["Oslo"]]}}}}
ROW: dict[str, Any] = {
    "messages": [
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "Look"}, {"type": "text", "text": " up"}]},
        {"role": "assistant", "content": "Yes.", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        {"role": "assistant", "content": "It is sunny."},
    ],
    "tools": [{"type": "function", "function": TOOL}],
}
KNOWN = KnownSecrets.of([SECRET, None, SecretPrompt("another one", kind="random", tokens=3, entropy_bits=150.0)])


def conversation_of(row: Any) -> Conversation:
    return msgspec.convert(row, Conversation)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every text in a row; the last step of a way to a key is the pair ("key", key)."""
    if isinstance(value, str):
        return [path]
    found = []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += places(inner, (*path, key))
        # Keys that a tenant may choose are those of the schemas.
        if isinstance(key, str) and "parameters" in path:
            found.append((*path, ("key", key)))
    return found


def planted(path: tuple[Any, ...], text: str) -> Any:
    row = json.loads(json.dumps(ROW))
    place = row
    for step in path[:-1]:
        place = place[step]
    if isinstance(path[-1], tuple):
        place[text] = place.pop(path[-1][1])
    else:
        place[path[-1]] = text
    return row


@pytest.mark.parametrize("path", places(ROW), ids=str)
def test_a_secret_is_found_wherever_a_row_has_text(path: tuple[Any, ...]) -> None:
    assert not KNOWN.stand_in_row(conversation_of(ROW))
    assert KNOWN.stand_in_row(conversation_of(planted(path, f"x {TEXT} y")))
    assert not KNOWN.stand_in_row(conversation_of(planted(path, f"x {TEXT[:-1]} y")))


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("where", ["value", "key", "deep"])
def test_arguments_are_read_as_templates_read_them(where: str, ascii_only: bool) -> None:
    value = {"value": {"city": TEXT}, "key": {TEXT: 1}, "deep": {"a": [{"b": [TEXT]}]}}[where]
    row = planted(("messages", 1, "tool_calls", 0, "function", "arguments"), json.dumps(value, ensure_ascii=ascii_only))
    assert TEXT not in row["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert KNOWN.stand_in_row(conversation_of(row))


def test_arguments_that_are_no_json_are_still_searched() -> None:
    path = ("messages", 1, "tool_calls", 0, "function", "arguments")
    assert KNOWN.stand_in_row(conversation_of(planted(path, '{"city": ' + TEXT)))
    assert not KNOWN.stand_in_row(conversation_of(planted(path, "[" * 100_000)))


@given(st.integers(1, len(TEXT) - 1))
def test_a_secret_that_goes_on_in_the_next_part_is_found(cut: int) -> None:
    row = json.loads(json.dumps(ROW))
    row["messages"][0]["content"] = [{"type": "text", "text": text} for text in ("a" + TEXT[:cut], TEXT[cut:] + "b")]
    assert KNOWN.stand_in_row(conversation_of(row))


def test_the_error_names_rows_and_nothing_of_the_secret() -> None:
    carrier = conversation_of(planted(("messages", 3, "content"), TEXT))
    rows = [(1, conversation_of(ROW)), *((number, carrier) for number in (3, 4, 7, 9, 11, 20))]
    with pytest.raises(SecretCollisionError) as caught:
        refuse_carriers(rows, KNOWN, "t.jsonl", "line")
    assert str(caught.value).startswith("t.jsonl: line 3, 4, 7, 9, 11, … carries a secret of this provider; ")
    assert TEXT[:6] not in str(caught.value)
    assert TEXT[:6] not in repr(KNOWN)
    refuse_carriers(rows[:1], KNOWN, "t.jsonl", "line")
    refuse_carriers(rows, KnownSecrets(()), "t.jsonl", "line")
    assert "row 2 carries" in str(collision([2], "rows", "row"))


def secret(text: str) -> SecretPrompt:
    return SecretPrompt(text, kind="random", tokens=9, entropy_bits=150.0)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A guarded file and its secret, a stray file of that name, a release, and one of another provider's."""
    (tmp_path / "a.jsonl").touch()
    write_secret_file(tmp_path / "a.jsonl.secret.json", secret("of a file"))
    (tmp_path / "b.jsonl.secret.json").write_text("no secret file, and no b.jsonl")
    for name, text, key in (("mine", "of a release", KEY), ("theirs", "of somebody", bytes(32))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text("{}")
        (tmp_path / name / "secret.sealed").write_bytes(seal(secret(text), key, {"model": name}))
    return tmp_path


def texts(beside: list[Path], named: list[Path]) -> list[str]:
    return [found.reveal() for found in kept_secrets(beside, named, lambda: KEY)]


def test_secrets_beside_the_data_are_known(shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert texts([shelf / "new.jsonl", shelf / "out"], []) == ["of a file", "of a release"]
    assert texts([tmp_path_factory.mktemp("elsewhere") / "new.jsonl"], []) == []


@pytest.mark.parametrize("named", ["mine", "mine/secret.sealed", "."])
def test_a_release_and_a_folder_of_releases_can_be_named(shelf: Path, named: str) -> None:
    if named == ".":
        (shelf / "theirs" / "secret.sealed").unlink()
        (shelf / "b.jsonl.secret.json").unlink()
    assert texts([], [shelf / named])[-1] == "of a release"


def test_what_is_named_and_cannot_be_read_is_an_error(shelf: Path) -> None:
    with pytest.raises(UnsealError, match="does not open with this provider's key"):
        texts([], [shelf / "theirs"])
    with pytest.raises(SecretError, match="is no secret file"):
        texts([], [shelf / "b.jsonl.secret.json"])
    with pytest.raises(SecretError, match="cannot be read"):
        texts([], [shelf / "none.sealed"])
    (shelf / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no secret file \(\*\.json, secret\.sealed\)"):
        texts([], [shelf / "empty"])


def test_the_key_is_asked_for_only_where_something_is_sealed(shelf: Path) -> None:
    def key() -> bytes:
        raise AssertionError("nobody needs the key")

    found = kept_secrets([], [shelf / "a.jsonl.secret.json"], key)
    assert [one.reveal() for one in found] == ["of a file"]
    assert kept_files([], [shelf / "mine"]) == [shelf / "mine" / "secret.sealed"]
