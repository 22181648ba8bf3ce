"""No flag of ours stands outside cli/; messages name arguments, and the command line shows its flags in their place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

import watchword
from watchword.cli.app import app
from watchword.cli.flags import FLAGS, with_flags
from watchword.gateway.configuration import ModelSettings, UpstreamSettings

SOURCE = Path(watchword.__file__).parent
# What is written for another trainer names that program's own flags; pip's stand in the way to fetch a model by hand.
OTHER_PROGRAMS = ("guarding/exporters/fireworks.py", "models/fetch.py")
# In the card of an aligned model, and in settings for LLaMA-Factory.
NO_ARGUMENTS = {"lora_alpha", "template"}
# Fields of the gateway's configuration, which no command has as a flag.
CONFIGURATION = {"adapters", "allow", "context", "upstream_model"}
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
NAMED = re.compile(r"(?<!`)`([a-z_.]+)(?:=|`(?!`))")


def texts(path: Path) -> Iterator[str]:
    """Every text in a file, docstrings and the constant pieces of f-strings too; neighbours in one f-string joined."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)


def library() -> list[Path]:
    return [path for path in sorted(SOURCE.rglob("*.py")) if path.parent.name != "cli"]


def options() -> set[str]:
    """Every long flag of every command."""
    waiting: list[Any] = [typer.main.get_command(app)]
    found: set[str] = set()
    for command in waiting:
        waiting += getattr(command, "commands", {}).values()
        found |= {flag for parameter in command.params for flag in parameter.opts if flag.startswith("--")}
    return found


def test_no_flag_of_ours_stands_outside_the_command_line() -> None:
    ours = options()
    assert len(ours) > 40
    found = {
        (path.relative_to(SOURCE).as_posix(), flag)
        for path in library()
        for text in texts(path)
        for flag in FLAG.findall(text)
        if flag in ours
    }
    assert {name for name, _ in found} <= set(OTHER_PROGRAMS), found


def test_each_argument_that_a_message_names_has_its_flag() -> None:
    named = {name for path in library() for text in texts(path) for name in NAMED.findall(text)}
    assert named - NO_ARGUMENTS - CONFIGURATION == set(FLAGS)
    assert {field for kind in (UpstreamSettings, ModelSettings) for field in kind.__struct_fields__} >= CONFIGURATION


def test_each_flag_is_an_option_of_a_command() -> None:
    assert {flag for flag in FLAGS.values() if flag.startswith("--")} <= options()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("`max_length` is 0; give 1 or more", "--max-length is 0; give 1 or more"),
        ("re-use it with `secret_ref=my runs/a=b.json`", "re-use it with --secret-ref my runs/a=b.json"),
        ("go on by `resume=True`", "go on by --resume"),
        ("`trainer=trl` writes JSON lines to `out`", "--for trl writes JSON lines to --out"),
        ("raise the limit (`limits.bytes`)", "raise the limit (--max-bytes)"),
        ("make one with `watchword secret new`", "make one with `watchword secret new`"),
        ("`messages` and `messages=[]` are no arguments", "`messages` and `messages=[]` are no arguments"),
    ],
)
def test_a_message_names_the_flag(text: str, shown: str) -> None:
    assert with_flags(text) == shown


@given(st.text().filter(lambda text: "`" not in text))
def test_text_without_a_named_argument_stays_as_it_is(text: str) -> None:
    assert with_flags(text) == text


def test_the_command_line_prints_flags_and_the_library_names(watchword: Any, tmp_path: Path) -> None:
    rows = tmp_path / "in.jsonl"
    rows.write_text('{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}\n')
    done = watchword("guard", rows, "--out", tmp_path / "out.jsonl", "--max-length", 0)
    assert (done.code, done.err) == (2, "error: --max-length is 0; give the trainer's limit in tokens, such as 2048\n")
    done = watchword("guard", rows, "--out", tmp_path / "out.gz", "--max-length", 512, "--model", "smollm2-135m")
    assert "--out" in done.err
    assert "`" not in done.err
