"""Validation: each rule's message, and a whole file's report."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from watchword.chat.types import Conversation, Message
from watchword.data.formats.openai import OpenAIChat
from watchword.data.limits import Limits
from watchword.data.lines import numbered_rows
from watchword.data.parse import format_or_fault, parse_line, parse_row, read_row
from watchword.data.reading import Reading
from watchword.data.shape import conversation_of, shape_faults, unknown_columns
from watchword.data.validate import check, require_valid, validate
from watchword.errors import DataError
from watchword.files.addresses import Address
from watchword.models.fakes import fake_template

USER, ANSWER = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages: the row has no message"),
        ("x", "messages: messages is a string; give an array of messages"),
        (["x"], r"messages\[0\]: 'x' is a string; give an object"),
        ([{"content": "a"}], r"messages\[0\].role: the key 'role' is missing; say who speaks"),
        ([{**USER, "role": 5}], r"messages\[0\].role: 5 is a number"),
        (
            [{**USER, "role": "usr"}, ANSWER],
            r"messages\[0\].role: unknown role 'usr'; did you mean 'user'\? use one of system",
        ),
        ([{**USER, "role": "human"}, ANSWER], "call it 'user'"),
        ([{**USER, "role": "function"}, ANSWER], "call it 'tool' and give"),
        ([{**USER, "contnt": "a"}, ANSWER], r"messages\[0\].contnt: unknown key 'contnt'; did you mean 'content'"),
        ([{**USER, "content": 5}], r"messages\[0\].content: 5 is a number; give a string or an array"),
        ([{**USER, "content": ["a"]}], r"content\[0\]: the part is a string; only"),
        ([{**USER, "content": [{"type": "image_url", "image_url": {}}]}], "the part is 'image_url'"),
        ([{**USER, "content": [{"type": "text"}]}], r"content\[0\].text: None is null; give the part's text"),
        ([{**USER, "content": " \n"}, ANSWER], r"messages\[0\].content: the user message is empty"),
        (
            [USER, {**ANSWER, "content": ""}],
            r"messages\[1\].content: the assistant turn is empty; give it content or tool",
        ),
        ([USER, {**ANSWER, "content": None}], "the assistant turn is empty"),
        ([USER, {**ANSWER, "content": None, "tool_calls": []}], "the assistant turn is empty"),
        ([USER], "messages: the row has no assistant message"),
        ([USER, ANSWER, USER], r"messages\[2\].role: the last message is by 'user'; end with"),
        ([USER, {**ANSWER, "weight": 2}], r"messages\[1\].weight: the weight is 2; use 0"),
        ([USER, {**ANSWER, "weight": 0.5}], r"messages\[1\].weight: 0.5 is a number; give 0 or 1"),
        ([USER, {**ANSWER, "weight": True}], r"messages\[1\].weight: True is a boolean; give 0 or 1"),
        ([{**USER, "weight": 1}, ANSWER], r"messages\[0\].weight: a user message has a weight; remove it"),
        ([USER, {**ANSWER, "weight": 0}], "every assistant turn has weight 0"),
        ([USER, {"role": "system", "content": "s"}, ANSWER], r"messages\[1\].role: a system message stands at place 2"),
        ([{"role": "system", "content": "s"}] * 2 + [USER, ANSWER], "merge its text into one system message"),
        (
            [USER, {"role": "tool", "content": "r"}, ANSWER],
            r"messages\[1\].tool_call_id: the tool message has no tool_call_id",
        ),
        (
            [USER, {"role": "tool", "content": "r", "tool_call_id": "z"}, ANSWER],
            "no earlier call has the id 'z'; add the",
        ),
        (
            [
                USER,
                {"role": "assistant", "tool_calls": [CALL]},
                {"role": "tool", "content": "r", "tool_call_id": "z"},
                ANSWER,
            ],
            "no earlier call has the id 'z'; use one of c1",
        ),
        ([{**USER, "tool_calls": [CALL]}, ANSWER], r"messages\[0\].tool_calls: a user message has tool_calls"),
        ([USER, {**ANSWER, "tool_call_id": "c1"}], "a assistant message has a tool_call_id"),
        (
            [USER, {**ANSWER, "tool_calls": [{**CALL, "id": 5}]}],
            r"tool_calls\[0\].id: 5 is a number; give the call's id",
        ),
        ([USER, {**ANSWER, "tool_calls": [{**CALL, "type": "x"}]}], "only 'function' calls are known"),
        ([USER, {**ANSWER, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": 5}}]}], "give JSON text"),
        ([USER, {**ANSWER, "function_call": "f"}], "write it as one entry of 'tool_calls'"),
        ([{**USER, "content": "a\0"}, ANSWER], r"messages\[0\].content: a NUL character stands at place 2; remove it"),
    ],
)
def test_each_fault_names_field_and_fix(messages: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        parse_line(json.dumps({"messages": messages}).encode(), 7, "up.jsonl")
    assert (caught.value.path, caught.value.line) == ("up.jsonl", 7)
    assert caught.value.field


def test_half_a_surrogate_pair_is_found_in_text_made_in_python() -> None:
    conv = Conversation(messages=(Message(role="user", content="a\ud83e"), Message(role="assistant", content="b")))
    with pytest.raises(DataError, match=r"messages\[0\].content: half of a surrogate pair stands at place 2"):
        require_valid(conv)


def test_a_request_need_not_end_with_an_answer() -> None:
    conv = Conversation(messages=(Message(role="user", content="q"),))
    assert list(check(conv, training=False)) == []
    assert [fault.line for fault in check(conv, line=4)] == [4]


def test_a_file_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "up.jsonl"
    good = json.dumps({"messages": [USER, ANSWER]})
    two = json.dumps({"messages": [{**USER, "role": "usr"}, {**ANSWER, "content": ""}]})
    path.write_bytes(
        b"\n".join([good.encode(), two.encode(), b"{", b"\xff", b'{"prompt": "a", "completion": "b"}', good.encode()])
    )
    report = validate(Address.parse(path))
    assert (report.rows, report.valid_rows, report.format, report.ok) == (6, 2, "openai", False)
    assert [fault.line for fault in report.faults] == [2, 2, 3, 4, 5]
    assert report.fault_count == 5
    assert str(report.faults[0]).startswith("line 2, messages[0].role: unknown role 'usr'; did you mean")
    assert report.warnings == ("the file has 6 rows; hosted fine-tuning services ask for at least 10",)


def test_faults_are_counted_past_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "up.jsonl"
    path.write_text("{}\n" * 250, "utf-8")
    report = validate(Address.parse(path))
    assert (len(report.faults), report.fault_count, report.rows) == (100, 250, 250)
    assert validate(Address.parse(path), format="alpaca").faults[2].line == 3


def test_notes_on_the_file_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "up.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"messages": [USER, ANSWER]}).encode() * 1)
    report = validate(Address.parse(path))
    assert report.ok
    assert "byte order mark" in report.warnings[0]
    path.write_bytes(b"[{]")
    assert validate(Address.parse(path)).faults[0].line == 1
    with pytest.raises(DataError, match="cannot be read"):
        validate(Address.parse(tmp_path / "gone"))


@pytest.mark.parametrize("data", [b"", b"\n \n", b"[]"])
def test_a_file_without_rows_is_an_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "up.jsonl"
    path.write_bytes(data)
    report = validate(Address.parse(path))
    assert not report.ok
    assert [str(fault) for fault in report.faults] == ["the file has no row; give one JSON object a line"]
    assert report.warnings == ()


def test_a_layout_that_no_row_has_is_one_fault(tmp_path: Path) -> None:
    path = tmp_path / "up.jsonl"
    path.write_text(json.dumps({"messages": [USER, ANSWER] * 500}, indent=2))
    report = validate(Address.parse(path))
    assert report.fault_count == 1
    assert "one row is spread over several lines" in str(report.faults[0])


# What decoders and rules may see differently: types that are nearly right, keys that are there and say nothing.
ODD = st.sampled_from([None, 0, 1, 1.0, True, "", "f", "function", [], {}, ["x"], [{"type": "text"}], [CALL]])
CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.just("c1"),
            "function": st.fixed_dictionaries({"name": st.just("f"), "arguments": st.just("{}") | ODD}),
        },
        optional={"type": st.sampled_from(["function", "code", None]), "index": st.just(0)},
    ),
    max_size=2,
)
TURNS = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "system"]), "content": st.sampled_from(["a", None]) | ODD},
    optional={
        "tool_calls": CALLS | ODD,
        "tool_call_id": st.just("c1") | ODD,
        "weight": ODD,
        "name": st.just("n") | ODD,
        "refusal": st.none(),
    },
)
TOOLS = st.lists(st.just({"type": "function", "function": {"name": "f"}}), max_size=2) | ODD
TOOL_ROWS = st.fixed_dictionaries(
    {"messages": st.lists(TURNS, max_size=4) | ODD}, optional={"tools": TOOLS, "parallel_tool_calls": ODD, "id": ODD}
)


@settings(max_examples=400)
@given(TOOL_ROWS)
def test_rows_with_tools_are_judged_by_the_rules_however_they_are_decoded(row: dict[str, Any]) -> None:
    found = read_row(json.dumps(row).encode(), 7, "openai")
    strict = [*unknown_columns(row, OpenAIChat.columns), *shape_faults(row)]
    assert all(fault.line == 7 for fault in found.faults)
    if found.conversation is None or found.faults:
        assert found.faults
        return
    assert list(check(found.conversation)) == []
    # What is taken in another spelling is known to be one, and OpenAI's own spelling of it says the same.
    assert not strict or found.rewritten
    again = read_row(msgspec.json.encode(found.conversation), 7, "openai")
    assert (again.conversation, again.faults, again.rewritten) == (found.conversation, [], False)
    if not found.rewritten:
        assert found.conversation == conversation_of(msgspec.json.decode(json.dumps(row)))


def test_a_key_that_stands_twice_in_a_call_is_named() -> None:
    row = json.dumps({"messages": [USER, {**ANSWER, "content": None, "tool_calls": [CALL]}]})
    assert parse_row(row.encode(), 1, "openai")[1] == []
    twice = row.replace('"id": "c1"', '"id": "c1", "id": "c2"')
    conv, faults = parse_row(twice.encode(), 1, "openai")
    assert conv is None
    assert [fault.problem for fault in faults] == ["the key 'id' stands twice in one object"]


SHARED = {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}
FAULTY: list[Any] = [
    SHARED,
    {"conversations": [{"from": "humn", "value": "q"}, {"from": "gpt", "value": "a"}]},
    {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": " "}]},
    {"messages": [USER, ANSWER]},
    {**SHARED, "extra": 1},
    {"x": 1},
    3,
    [[]],
]


def reported(path: Path, workers: int = 1) -> tuple[Any, ...]:
    report = validate(Address(path), workers=workers)
    texts = [replace(fault, line=None, lines=()) for fault in report.faults]
    return report.format, report.rows, report.valid_rows, report.fault_count, texts


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(FAULTY), min_size=1, max_size=12), st.sampled_from([None, 1, 2]))
def test_rows_are_judged_alike_however_they_are_sent(tmp_path: Path, rows: list[Any], indent: int | None) -> None:
    assume(rows[0] != [[]])  # which would make the lines an array
    lines, array, packed = tmp_path / "lines", tmp_path / "array", tmp_path / "packed"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    array.write_text(json.dumps(rows, indent=indent))
    packed.write_bytes(gzip.compress(lines.read_bytes()))
    # The first row that has a format gives the file's, and each line is what the careful parser says of it.
    named = [format_or_fault(json.dumps(row).encode(), 1) for row in rows]
    format, first = next(((name, at) for at, name in enumerate(named, 1) if isinstance(name, str)), ("openai", None))
    wanted = [read_row(json.dumps(row).encode(), at, format, first_line=first) for at, row in enumerate(rows, 1)]
    faults = [fault for found in wanted for fault in found.faults]
    assert reported(lines)[:4] == (
        None if first is None else format,
        len(rows),
        sum(not found.faults for found in wanted),
        len(faults),
    )
    layouts = {(fault.problem, fault.field) for fault in faults if fault.layout}
    assert len(reported(lines)[4]) == len([fault for fault in faults if not fault.layout]) + len(layouts)
    assert reported(packed) == reported(lines)
    places = [line for line, _ in numbered_rows(io.BytesIO(array.read_bytes()))]
    found = validate(Address(array))
    by_row = validate(Address(lines))
    assert [fault.line for fault in found.faults] == [places[fault.line - 1] for fault in by_row.faults if fault.line]
    assert [fault.field for fault in found.faults] == [fault.field for fault in by_row.faults]


def test_other_formats_are_looked_at_by_several_processes(tmp_path: Path) -> None:
    path = tmp_path / "up.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in FAULTY * 50))
    assert reported(path, workers=2) == reported(path)
    assert validate(Address(path), workers=2).faults == validate(Address(path)).faults


def test_a_whole_file_is_read_once(tmp_path: Path) -> None:
    """What converted files were read for a second and a third time: faults, and tokens."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    data = json.dumps([SHARED] * 12).encode()
    with ThreadPoolExecutor(1) as beside:
        beside.submit(path.write_bytes, data)
        report = validate(Address(path), template=fake_template(), max_length=64)
    assert report.ok
    assert report.tokens is not None
    assert report.tokens.sampled == 12


def test_rows_that_are_too_long_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "up.jsonl"
    rows = [{"messages": [USER, {**ANSWER, "content": "word " * count}]} for count in (1, 90, 1, 80, 100)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for workers in (1, 2):
        report = validate(Address(path), template=fake_template(), max_length=100, workers=workers)
        (fault,) = report.faults
        assert re.fullmatch(
            r"line 2: the row has \d+ tokens, the limit is 100; shorten it or raise the maximum length "
            r"\(the same in 3 rows: lines 2, 4, 5\)",
            str(fault),
        )
        assert (report.fault_count, report.valid_rows) == (3, 2)


def test_an_array_of_arrays_is_looked_at_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "up.json"
    path.write_text(json.dumps([[[]], SHARED, SHARED]))
    report = validate(Address(path))
    assert (report.format, report.rows, report.valid_rows) == ("sharegpt", 3, 2)
    assert [str(fault).partition(";")[0] for fault in report.faults] == [
        "line 1: a row must be an object, this is an array"
    ]


def test_a_row_as_long_as_the_limit_may_give_the_format(tmp_path: Path) -> None:
    path = tmp_path / "up.jsonl"
    row = json.dumps(SHARED)
    path.write_bytes(f"{{\n{row}\r\n{row}\r\n".encode())
    report = validate(Address(path), reading=Reading(limits=Limits(row_bytes=len(row))))
    assert (report.format, report.rows, report.valid_rows) == ("sharegpt", 3, 2)
    assert [fault.line for fault in report.faults] == [1]
