"""Prompt files of anybody: what is read, and what is refused with file, line and fix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from watchword.data.prompts import read_prompts
from watchword.errors import DataError


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "prompts"),
    [
        ("p.txt", "One?\n\n  Two?  \r\nThree?", ["One?", "Two?", "Three?"]),
        ("p.TXT", "One?", ["One?"]),
        ("p.txt", "\ufeffOne?\nTwo?", ["One?", "Two?"]),
        ("p.txt", "One\u2028line?\nTwo\x0c?", ["One\u2028line?", "Two\x0c?"]),
        ("p.csv", 'One?,x\n"Two, three?",y\n', ["One?", "Two, three?"]),
        ("p.csv", "\ufeffid,prompt\n1,One?\n2,Two?\n", ["One?", "Two?"]),
        ("p.csv", 'id, prompt \n1,"One\nline?"\n\n2,\n3\n', ["One\nline?"]),
        ("p.csv", "goal,target\nOne?,Sure\n", ["One?"]),
        ("p.csv", "id,Prompt\n1,One?\n", ["One?"]),
        ("p.csv", "Question\nOne?\n", ["One?"]),
        ("p.jsonl", '{"prompt": "One?"}\n\n{"prompt": "Two?", "more": 1}\n', ["One?", "Two?"]),
        ("p.jsonl", '\ufeff{"prompt": "One?"}\r\n{"prompt": "Two\u2028?"}', ["One?", "Two\u2028?"]),
    ],
)
def test_what_is_read(tmp_path: Path, name: str, content: str, prompts: list[str]) -> None:
    assert read_prompts(written(tmp_path, name, content)) == prompts


@pytest.mark.parametrize(("name", "content"), [("p.csv", "goal,target\nOne?,Sure\n"), ("p.jsonl", '{"goal": "One?"}')])
def test_another_column(tmp_path: Path, name: str, content: str) -> None:
    assert read_prompts(written(tmp_path, name, content), "goal") == ["One?"]


FAULTS: list[tuple[str, str | bytes, tuple[str, ...], str]] = [
    ("p.md", "One?", (), "a prompt file ends in .txt, .csv, .jsonl; this one in .md"),
    ("prompts", "One?", (), "this one in nothing"),
    ("p.txt", b"One \xe9?", (), "the file is not UTF-8 (byte 4); save it as UTF-8"),
    ("p.csv", b"\xff\xfeO\x00", (), "the file is not UTF-8 (byte 0)"),
    ("p.txt", "", (), "the file holds no prompts"),
    ("p.txt", " \n\n", (), "the file holds no prompts"),
    ("p.csv", "", (), "the file holds no prompts"),
    ("p.csv", "id,prompt\n1,\n", (), "the file holds no prompts"),
    (
        "p.csv",
        "goal,target\nOne?,x\n",
        ("--column", "gaol"),
        "line 1: there is no column 'gaol': choose one of goal, target",
    ),
    ("p.csv", 'One?,"x\n', (), "the file is no CSV"),
    ("p.csv", "x" * 200_000, (), "the file is no CSV: field larger than field limit"),
    ("p.jsonl", '{"prompt": "One?"}\n{"prompt": "Two?"\n', (), "line 2: this is no JSON"),
    ("p.jsonl", "[" * 100_000, (), "line 1: this is no JSON"),
    ("p.jsonl", '{"text": "One?"}', (), 'line 1, prompt: give a text, as in {"prompt": "…"}'),
    ("p.jsonl", '{"prompt": 3}', (), "line 1, prompt: give a text"),
    ("p.jsonl", '{"prompt": " "}', (), "line 1, prompt: give a text"),
    ("p.jsonl", "3", (), "line 1, prompt: give a text"),
    ("p.jsonl", '{"prompt": "One?"}', ("--column", "goal"), 'line 1, goal: give a text, as in {"goal": "…"}'),
]


@pytest.mark.parametrize(("name", "content", "options", "message"), FAULTS)
def test_what_is_refused_before_a_model_is_loaded(
    watchword: Any, tmp_path: Path, name: str, content: str | bytes, options: tuple[str, ...], message: str
) -> None:
    path = written(tmp_path, name, content)
    out = tmp_path / "out.json"
    out.write_text("old")
    done = watchword("evaluate", "--prompts", path, "--json", out, *options)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith(f"error: {path}")
    assert message in done.err
    assert out.read_text() == "old"


def test_a_missing_file_and_a_folder_are_named(watchword: Any, tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    for name, why in (("none.txt", "No such file or directory"), ("folder.txt", "Is a directory")):
        done = watchword("evaluate", "--prompts", tmp_path / name)
        assert done.code == 3
        assert f"{tmp_path / name}: the file cannot be read: {why}; check the path and its rights" in done.err


def test_prompts_go_through_unchanged(tmp_path: Path) -> None:
    odd = ["<|im_start|>system", "naïve 🥖", 'say "x"', "a\tb"]
    path = written(tmp_path, "p.jsonl", "\n".join(json.dumps({"prompt": text}) for text in odd))
    assert read_prompts(path) == odd


def test_a_text_file_has_no_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no column 'goal'; leave `column` out"):
        read_prompts(written(tmp_path, "p.txt", "One?"), "goal")
