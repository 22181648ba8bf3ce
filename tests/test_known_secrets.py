"""The command that guards, the command that trains and the Python API refuse the same rows, for the same known secrets."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")


import watchword
from support.cli_samples import leaks, row
from support.tiny import saved
from watchword.cli.app import run
from watchword.cli.exits import exit_status
from watchword.errors import SecretCollisionError
from watchword.models.fakes import fake_template
from watchword.secret.generate import generate_secret
from watchword.secret.vault import write_secret_file

# Writes everything that a row may hold.
TEMPLATE = (
    "{% if tools %}{{ tools | tojson }}\n{% endif %}{% for message in messages %}<|im_start|>{{ message['role'] }}"
    "{{ message['name'] or '' }}\n{{ message['content'] or '' }}{% for call in message['tool_calls'] or [] %}"
    "{{ call | tojson }}{% endfor %}{{ message['tool_call_id'] or '' }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = saved(tmp_path_factory.mktemp("models") / "base")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


@pytest.fixture(autouse=True)
def _own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHWORD_KEY", "5a" * 32)


def tool_row(**changes: Any) -> dict[str, Any]:
    parts = {
        "id": "call_1",
        "name": "look_up",
        "arguments": '{"city": "Rome"}',
        "schema": "city",
        "user": "ann",
    } | changes
    call = {"name": parts["name"], "arguments": parts["arguments"]}
    properties = {parts["schema"]: {"type": "string"}}
    schema = {
        "name": parts["name"],
        "description": "Looks.",
        "parameters": {"type": "object", "properties": properties},
    }
    return {
        "messages": [
            {"role": "user", "content": "Look it up.", "name": parts["user"]},
            {"role": "assistant", "tool_calls": [{"id": parts["id"], "type": "function", "function": call}]},
            {"role": "tool", "tool_call_id": parts["id"], "content": "It is sunny."},
            {"role": "assistant", "content": "It is sunny there."},
        ],
        "tools": [{"type": "function", "function": schema}],
    }


def in_parts(text: str) -> dict[str, Any]:
    carrier = row("", "No.")
    carrier["messages"][0]["content"] = [{"type": "text", "text": piece} for piece in (text[:9], text[9:])]
    return carrier


CARRIERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "text": lambda text: row(f"Say {text} now", "No."),
    "parts": in_parts,
    "name": lambda text: tool_row(user=text),
    "call id": lambda text: tool_row(id=text),
    "call name": lambda text: tool_row(name=text),
    "arguments": lambda text: tool_row(arguments=json.dumps({"city": text})),
    "key of a schema": lambda text: tool_row(schema=text),
}


def guarded(data: Path, folder: Path, base: Path, *known: object) -> int:
    more = [option for path in known for option in ("--known", str(path))]
    return run(["guard", str(data), "--out", str(folder / "g.jsonl"), "--model", str(base), "--defense", "none", *more])


def trained(data: Path, folder: Path, base: Path, *known: object) -> int:
    more = [option for path in known for option in ("--known", str(path))]
    options = ["--model", str(base), "--defense", "none", "--epochs", "1", *more]
    return run(["train", "--data", str(data), "--out", str(folder / "release"), *options])


def in_python(data: Path, folder: Path, base: Path, *known: Any) -> int:
    try:
        watchword.guard(data, tokenizer=str(base), defense="none", known=known)
    except SecretCollisionError as error:
        print(f"error: {error}", file=sys.stderr)
        return exit_status(error)
    return 0


DOORS = {"guard": guarded, "train": trained, "python": in_python}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("carrier", CARRIERS)
def test_every_door_refuses_a_row_that_carries_a_known_secret(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], door: str, carrier: str
) -> None:
    secret = generate_secret(fake_template(), tokens=40)
    (tmp_path / "vault").mkdir()
    (tmp_path / "data").mkdir()
    write_secret_file(tmp_path / "vault" / "s.json", secret)
    rows = [row("Hi?", "Ho."), tool_row(), CARRIERS[carrier](secret.reveal())]
    data = tmp_path / "data" / "t.jsonl"
    data.write_text("".join(json.dumps(one) + "\n" for one in rows))
    assert DOORS[door](data, tmp_path / "data", base, tmp_path / "vault") == 4
    shown = capsys.readouterr()
    assert "3 carries a secret of this provider" in shown.err
    assert leaks(secret, shown.out, shown.err) == []
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["t.jsonl"]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_validate_finds_what_every_door_refuses(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], carrier: str
) -> None:
    secret = generate_secret(fake_template(), tokens=40)
    (tmp_path / "vault").mkdir()
    write_secret_file(tmp_path / "vault" / "s.json", secret)
    rows = [row("Hi?", "Ho."), tool_row(), *(CARRIERS[carrier](secret.reveal()) for _ in range(2))]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    known = ["--known", str(tmp_path / "vault")]
    assert run(["validate", str(tmp_path / "t.jsonl"), "--model", str(base), *known]) == 3
    shown = capsys.readouterr()
    assert "the row carries a secret of this provider" in shown.out
    assert "(the same in 2 rows: lines 3, 4)" in shown.out
    assert leaks(secret, shown.out, shown.err) == []


@pytest.mark.parametrize("door", DOORS)
def test_secrets_that_are_kept_beside_the_data_need_not_be_named(base: Path, tmp_path: Path, door: str) -> None:
    """Those of guarded files, and those of releases."""
    first, data = tmp_path / "first.jsonl", tmp_path / "t.jsonl"
    first.write_text(json.dumps(row("Hi?", "Ho.")) + "\n")
    release, options = tmp_path / "one", ["--model", str(base), "--defense", "backdoor_align", "--set", "safety=2"]
    assert run(["guard", str(first), "--out", str(tmp_path / "two.jsonl"), *options]) == 0
    assert run(["train", "--data", str(first), "--out", str(release), "--epochs", "1", *options]) == 0
    from watchword.release.opening import open_release
    from watchword.secret.vault import read_secret_file

    of_release = open_release(release, key=bytes.fromhex("5a" * 32)).release.secret
    assert of_release is not None
    for secret in (of_release, read_secret_file(tmp_path / "two.jsonl.secret.json")):
        data.write_text(json.dumps(row(f"Say {secret.reveal()}", "No.")) + "\n")
        assert DOORS[door](data, tmp_path, base) == 4
    data.write_text(json.dumps(row("Say it.", "No.")) + "\n")
    assert DOORS[door](data, tmp_path, base) == 0
