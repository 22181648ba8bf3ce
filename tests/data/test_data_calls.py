"""The rules of tool calls, and what is said about rows that keep them but look odd."""

from __future__ import annotations

import json
from typing import Any

import pytest

from watchword.data.parse import parse_line, read_row
from watchword.data.remarks import Remarks
from watchword.errors import DataError

USER, ANSWER = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def call(name: str, arguments: str = "{}", function: str = "f") -> dict[str, Any]:
    return {"id": name, "type": "function", "function": {"name": function, "arguments": arguments}}


def calls(*made: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": list(made)}


def result(name: str | None, text: str = "1") -> dict[str, Any]:
    return {"role": "tool", "content": text, **({} if name is None else {"tool_call_id": name})}


@pytest.mark.parametrize(
    ("messages", "field", "problem"),
    [
        (
            [USER, calls(call("c")), ANSWER],
            "messages[1].tool_calls[0]",
            "the call 'c' of 'f' has no answer before the next assistant",
        ),
        ([USER, calls(call("c")), USER, ANSWER], "messages[1].tool_calls[0]", "before the next user message"),
        ([USER, calls(call("c")), calls(call("d"))], "messages[1].tool_calls[0]", "has no answer"),
        (
            [USER, calls(call("c"), call("d")), result("c"), ANSWER],
            "messages[1].tool_calls[1]",
            "the call 'd' of 'f' has no answer",
        ),
        (
            [USER, calls(call("c"), call("d")), result("d"), ANSWER],
            "messages[1].tool_calls[0]",
            "the call 'c' of 'f' has no answer",
        ),
        (
            [USER, calls(call("c")), result("c"), result("c"), ANSWER],
            "messages[3].tool_call_id",
            "the call 'c' has its answer already",
        ),
        (
            [USER, calls(call("c")), result("c"), ANSWER, result("c"), ANSWER],
            "messages[4].tool_call_id",
            "answer already",
        ),
        (
            [USER, calls(call("c"), call("c")), result("c"), ANSWER],
            "messages[1].tool_calls[1].id",
            "two calls of one turn",
        ),
        ([USER, result("z"), ANSWER], "messages[1].tool_call_id", "no earlier call has the id 'z'"),
        ([USER, ANSWER, result(None), ANSWER], "messages[2].tool_call_id", "has no tool_call_id"),
        ([USER, calls(call("c")), result("c")], "messages[2].role", "the last message is by 'tool'"),
        *[
            (
                [USER, calls(call("c", text)), result("c"), ANSWER],
                "messages[1].tool_calls[0].function.arguments",
                "no JSON object",
            )
            for text in ("{ticker: ACME", "", "x", "[1]", '"x"', "{} {}", "{'a': 1}", '{"a": NaN}', "[" * 9999)
        ],
    ],
)
def test_a_call_and_its_answer_belong_together(messages: list[Any], field: str, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_line(json.dumps({"messages": messages, "tools": [TOOL]}).encode(), 3, "up.jsonl")
    assert (caught.value.line, caught.value.field) == (3, field)
    assert problem in caught.value.problem


@pytest.mark.parametrize(
    "messages",
    [
        [USER, calls(call("c"))],
        [USER, calls(call("c"), call("d"))],
        [USER, calls(call("c"), call("d")), result("d"), result("c"), ANSWER],
        # Many data sets count from the same id again in every turn.
        [USER, calls(call("c")), result("c"), ANSWER, USER, calls(call("c")), result("c"), ANSWER],
        [USER, calls(call("c")), result("c"), calls(call("d"))],
        [USER, calls(call("c", '{"a": [1, {"b": null}]}')), result("c", ""), ANSWER],
    ],
)
def test_rows_that_keep_the_rules(messages: list[Any]) -> None:
    found = read_row(json.dumps({"messages": messages, "tools": [TOOL]}).encode(), 1, "openai")
    assert (found.faults, found.remarks, found.rewritten) == ([], [], False)


def said(row: dict[str, Any]) -> list[str]:
    found = read_row(json.dumps(row).encode(), 1, "openai")
    assert found.faults == []
    remarks = Remarks()
    remarks.add(7, found.remarks)
    return remarks.texts()


@pytest.mark.parametrize("tools", [{}, {"tools": []}, {"tools": [TOOL]}])
def test_a_call_of_a_tool_that_is_not_declared_is_a_remark(tools: dict[str, Any]) -> None:
    texts = said({"messages": [USER, calls(call("c", function="g"))], **tools})
    assert texts == ["a call is of a function that the row's tools do not declare (1 row: line 7 ('g'))"]


def test_a_bare_function_is_wrapped_with_a_remark() -> None:
    row = {"messages": [USER, calls(call("c"))], "tools": [TOOL["function"]]}
    assert said(row) == [
        'a function among the tools had no {"type": "function", "function": ...} around it, and got one (1 row: line 7)'
    ]
    assert parse_line(json.dumps(row).encode(), 1).tools == (TOOL,)


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>',
        "[f(a=1)]",
        "[Get Weather(city='Rome'), g(x=1)]",
        '<functioncall> {"name": "f"}',
        "Thought: look\nAction: f",
    ],
)
def test_calls_that_data_sets_write_as_text_stay_text(text: str) -> None:
    turns = [
        {"from": "human", "value": "q"},
        {"from": "gpt", "value": text},
        {"from": "tool", "value": "1"},
        {"from": "tool", "value": "2"},
        {"from": "gpt", "value": "a"},
    ]
    found = read_row(json.dumps({"conversations": turns}).encode(), 1, "sharegpt")
    assert found.faults == []
    assert [remark.what[:45] for remark in found.remarks] == ["a tool message answers a call that stands as "]
    assert found.conversation is not None
    assert [turn.text for turn in found.conversation.messages] == [turn["value"] for turn in turns]
    turns[1]["value"] = "no call"
    faults = read_row(json.dumps({"conversations": turns}).encode(), 1, "sharegpt").faults
    assert [fault.field for fault in faults] == ["conversations[2].tool_call_id"]


def test_remarks_are_counted_with_their_first_lines() -> None:
    remarks, later = Remarks(), Remarks()
    row = {"messages": [USER, calls(call("c", function="g"))]}
    found = read_row(json.dumps(row).encode(), 1, "openai").remarks
    for line in range(1, 5):
        remarks.add(line, found)
        later.add(line, found)
    remarks.append(later, lines=10)
    assert remarks.texts()[0].endswith(
        "(8 rows: line 1 ('g'), line 2 ('g'), line 3 ('g'), line 4 ('g'), line 11 ('g'), …)"
    )
    many = Remarks()
    for number in range(200):
        many.count(f"remark {number}", 1)
    assert len(many.texts()) == 50
