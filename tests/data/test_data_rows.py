"""Reading and writing conversations: every format, arrays, odd bytes, and a disk that says no."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.chat.types import Conversation, FunctionCall, Message, Part, ToolCall, conversation
from watchword.data.formats.base import FORMATS
from watchword.data.parse import parse_line, parse_row
from watchword.data.rows import read_conversations, write_conversations
from watchword.errors import DataError, OutputError, UnknownNameError
from watchword.files.atomic import replacing

ROWS = {
    "openai": {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
    "prompt_completion": {"prompt": "q", "completion": "a"},
    "alpaca": {"instruction": "q", "input": "", "output": "a"},
    "sharegpt": {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
    "question_answer": {"question": "q", "answer": "a"},
}
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20).filter(
    lambda text: bool(text.strip())
)
CHATS = st.builds(
    lambda system, turns, last: Conversation(
        messages=(
            *([Message(role="system", content=system)] if system else []),
            *[m for q, a in turns for m in (Message(role="user", content=q), Message(role="assistant", content=a))],
            Message(role="user", content=last),
            Message(role="assistant", content=last),
        )
    ),
    st.none() | WORDS,
    st.lists(st.tuples(WORDS, WORDS), max_size=3),
    WORDS,
)


def test_formats_are_found_by_file() -> None:
    assert sorted(FORMATS.names()) == sorted([*ROWS, "xlam"])


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("array", [False, True])
def test_each_format_is_detected_and_read(name: str, array: bool, tmp_path: Path) -> None:
    path = tmp_path / "data"
    text = json.dumps([ROWS[name]] * 2, indent=1) if array else f"{json.dumps(ROWS[name])}\n\n{json.dumps(ROWS[name])}"
    path.write_text(text, "utf-8")
    rows = list(read_conversations(path))
    assert [conv for _, conv in rows] == [conversation("q", "a")] * 2
    assert [conv for _, conv in read_conversations(str(path), format=name)] == [conversation("q", "a")] * 2
    lines = text.splitlines()
    assert [lines[line - 1].lstrip().startswith("{") for line, _ in rows] == [True, True]
    assert rows[1][0] > rows[0][0]


@given(st.sampled_from(["openai", "alpaca", "sharegpt"]), CHATS)
def test_formats_round_trip(name: str, conv: Conversation) -> None:
    row_format = FORMATS.create(name)
    raw = json.dumps(row_format.from_conversation(conv)).encode()
    assert parse_line(raw, 1, format=name) == conv


@given(st.lists(CHATS, max_size=5))
def test_writing_and_reading_gives_the_same_rows(rows: list[Conversation]) -> None:
    stream = io.BytesIO(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    assert list(read_conversations(stream)) == list(enumerate(rows, start=1))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "user", "assistant", "x", "\0"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "weight", "name", "tool_calls", "id", "type"]), inner)
    ),
    max_leaves=8,
)


@given(st.fixed_dictionaries({"messages": st.lists(JSON, max_size=3) | JSON}, optional={"tools": JSON, "extra": JSON}))
def test_the_quick_path_takes_only_what_the_strict_one_takes(row: dict[str, Any]) -> None:
    raw = json.dumps(row).encode()
    conv, faults = parse_row(raw, 3, "openai")
    if faults:
        with pytest.raises(DataError, match="line 3"):
            parse_line(raw, 3)
    else:
        assert parse_line(raw, 3) == conv


@given(
    st.binary(max_size=80)
    | CHATS.map(msgspec.json.encode).flatmap(lambda raw: st.integers(0, len(raw)).map(lambda n: raw[:n]))
)
def test_any_bytes_give_rows_or_a_data_error(raw: bytes) -> None:
    try:
        list(read_conversations(io.BytesIO(raw)))
    except DataError as error:
        assert error.line is not None
        assert "; " in error.problem


def test_mixed_formats_are_refused_with_both_lines(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    path.write_text("\n".join(json.dumps(ROWS[name]) for name in ("openai", "openai", "alpaca")), "utf-8")
    with pytest.raises(DataError, match=r"mixed\.jsonl, line 3: this row is alpaca, and line 1 is openai; put rows"):
        list(read_conversations(path))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"messages": [', r"line 1: broken JSON at column 15.*is the line cut\?"),
        (
            b'\n{"messages": \xff}',
            "line 2: byte 0xff at byte offset 13 of the line is not UTF-8; save the file as UTF-8",
        ),
        (b"\xff\xfe{\0", "line 1: the file is UTF-16"),
        (b'[{"prompt": "a",\n"completion": }]', "line 2: broken JSON at column 15"),
        (b"5", "line 1: a row must be an object, this is a number"),
        (b'{"txt": "a"}', r"line 1: the row has no known format \(its keys: 'txt'\); use one of"),
        (b'{"messages": NaN}', "line 1: broken JSON: NaN is no JSON value"),
        (b'{"prompt": "\\ud83e", "completion": "a"}', "half of a surrogate pair"),
        (b'{"prompt": "a", "completion": ' + b"[" * 100_000, "nested too deeply"),
        (
            b'{"prompt": "a", "weight": ' + b"9" * 5000 + b"}",
            "line 1: broken JSON: integer value out of range; write a",
        ),
        (b'{"prompt": "a", "weight": 1e99999}', "line 1: broken JSON: number out of range; write a value"),
        (b'{"prompt": 1e99999, "completion": "\\ud83e"}', "half of a surrogate pair"),
        (
            b'{\n  "prompt": "a",\n  "completion": "b"\n}',
            "line 1: one row is spread over several lines; write each row",
        ),
        (b'{"messages": [\n  {"role": "user"}]}', "line 1: one row is spread over several lines"),
        (b'{"prompt": "a"}\r{"prompt": "b"}', "line 1: carriage returns alone stand between the rows"),
        (b"\0\0\0\0", "line 1: the file holds NUL bytes"),
        (b'{"prompt": "a\0"}', "line 1: broken JSON at column 14: invalid control character"),
        (b'{"messages": [\n{"prompt": "a", "completion": "b"}', "line 1: broken JSON at column 15"),
        (b'{"prompt": "a", "completion": "b", "prompt": "c"}', "prompt: the key 'prompt' stands twice"),
        (
            b'{"messages":[{"role":"user","content":"a","content":"b"},{"role":"assistant","content":"c"}]}',
            "stands twice",
        ),
        (b'{"instruction": "a", "ouput": "b"}', "ouput: unknown key 'ouput'; did you mean 'output'"),
        (b'{"instruction": "a", "output": "b", "history": [["x"]]}', r"history\[0\]: the entry is no pair"),
        (
            b'{"conversations": [{"from": "humman", "value": "a"}]}',
            r"conversations\[0\].from: unknown speaker 'humman'; did",
        ),
    ],
)
def test_bad_bytes_get_one_clear_message(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(read_conversations(io.BytesIO(data)))


def test_a_byte_order_mark_and_an_empty_file_are_fine() -> None:
    row = json.dumps(ROWS["openai"]).encode()
    assert list(read_conversations(io.BytesIO(b"\xef\xbb\xbf" + row))) == [(1, conversation("q", "a"))]
    assert list(read_conversations(io.BytesIO(b"\n \n"))) == []


def test_missing_file_and_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jsonl: the file cannot be read: No such file"):
        list(read_conversations(tmp_path / "gone.jsonl"))
    with pytest.raises(DataError, match="holds neither a saved dataset"):
        list(read_conversations(tmp_path))
    with pytest.raises(UnknownNameError, match="did you mean 'alpaca'"):
        list(read_conversations(tmp_path / "gone.jsonl", format="alpacca"))


def test_unusual_rows_of_openai_are_kept_whole() -> None:
    call = ToolCall(id="c1", function=FunctionCall(name="f", arguments='{"a":  1}'))
    conv = Conversation(
        messages=(
            Message(role="developer", content=(Part(type="text", text="be brief"),)),
            Message(role="user", content="q", name="ann"),
            Message(role="assistant", tool_calls=(call,), weight=0),
            Message(role="tool", content="", tool_call_id="c1"),
            Message(role="assistant", content="a", weight=1),
        ),
        tools=({"type": "function", "function": {"name": "f"}},),
        parallel_tool_calls=False,
    )
    assert parse_line(msgspec.json.encode(conv), 1) == conv
    reply = (
        b'{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a","refusal":null,"weight":null}]}'
    )
    assert parse_line(reply, 1) == conversation("q", "a")


@pytest.mark.parametrize("name", ["prompt_completion", "alpaca", "sharegpt"])
def test_what_a_format_cannot_hold_is_refused(name: str) -> None:
    row_format = FORMATS.create(name)
    tools = Conversation(messages=conversation("q", "a").messages, tools=({},))
    with pytest.raises(DataError, match=f"tools: {name} cannot hold this; write the openai format"):
        row_format.from_conversation(tools)
    named = Conversation(messages=(Message(role="user", content="q", name="n"), Message(role="assistant", content="a")))
    with pytest.raises(DataError, match="cannot hold"):
        row_format.from_conversation(named)


def test_weights_in_sharegpt_round_trip() -> None:
    conv = Conversation(
        messages=(*conversation("q").messages, Message(role="assistant", content="a", weight=1)),
    )
    row_format = FORMATS.create("sharegpt")
    assert row_format.to_conversation(row_format.from_conversation(conv)) == conv


def test_writing_replaces_the_file_at_the_end_only(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    assert write_conversations([conversation("q", "é")], path) == 1
    assert path.read_text("utf-8") == (
        '{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"é"}]}\n'
    )

    def broken() -> Any:
        yield conversation("x", "y")
        raise KeyboardInterrupt

    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_conversations(broken(), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_secret_file_is_private(tmp_path: Path) -> None:
    with replacing(tmp_path / "s", mode=0o600) as stream:
        stream.write(b"x")
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_or_read_only_folder_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old", "utf-8")

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync" if code == errno.ENOSPC else "open", refuse)
    with pytest.raises(
        OutputError, match=rf"out\.jsonl: the output cannot be written: {os.strerror(code)}; choose a folder"
    ):
        write_conversations([conversation("q", "a")], path)
    monkeypatch.undo()
    assert path.read_text("utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file or directory"):
        write_conversations([], tmp_path / "no" / "out.jsonl")


def test_what_a_killed_writer_left_is_removed_by_the_next_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "out[1].jsonl"
    others = {".out[1].jsonl.tmp", ".out[1].jsonl.12345678.txt", ".other.jsonl.12345678.tmp"}
    for name in (*others, f".{path.name}.12345678.tmp"):
        (tmp_path / name).write_text("half")
    with replacing(path) as first, replacing(path) as second:
        assert sum(entry.name.endswith(".tmp") for entry in tmp_path.iterdir()) == 2 + 2
        first.write(b"first")
        second.write(b"second")
    assert path.read_bytes() == b"first"
    assert {entry.name for entry in tmp_path.iterdir()} == {*others, path.name}


@pytest.mark.parametrize("links", [True, False])
def test_a_fresh_file_never_replaces_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr("os.link", unknown)
    path = tmp_path / "secret"
    with replacing(path, fresh=True) as stream:
        stream.write(b"one")
    with (
        pytest.raises(OutputError, match="secret: the output cannot be written: File exists"),
        replacing(path, fresh=True) as stream,
    ):
        stream.write(b"two")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("secret", b"one")]


def test_a_file_system_without_locks_is_written_to_and_never_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(descriptor: int) -> bool:
        raise OSError(errno.ENOSYS, "Function not implemented")

    for module in ("watchword.files.locks", "watchword.files.atomic"):
        monkeypatch.setattr(f"{module}.lock_open_file", unknown)
    (tmp_path / ".out.12345678.tmp").write_text("half")
    with replacing(tmp_path / "out") as stream:
        stream.write(b"whole")
    assert {entry.name for entry in tmp_path.iterdir()} == {"out", ".out.12345678.tmp"}
