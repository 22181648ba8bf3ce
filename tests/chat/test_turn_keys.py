"""Keys too many in turns, columns that nobody has, keys twice in arguments: named as the file names them, once."""

from __future__ import annotations

import json

import pytest

from watchword.data.parse import parse_row
from watchword.data.reading import Reading

TURNS = [{"from": "human", "value": "q", "time": 1}, {"from": "gpt", "value": "a", "time": 2}]


def faults(row: object, format: str) -> list[str]:
    return [str(fault) for fault in parse_row(json.dumps(row).encode(), 1, format)[1]]


def test_a_key_too_many_in_turns_is_named_once_with_the_way_out() -> None:
    row = {"conversations": TURNS}
    assert faults(row, "sharegpt") == [
        "line 1, conversations[0].time: unknown key 'time'; leave it out with `drop_columns=conversations.time`"
    ]
    reading = Reading(drop_columns=("conversations.time",))
    assert parse_row(json.dumps(row).encode(), 1, "sharegpt", reading=reading)[1] == []


def test_a_misspelt_key_is_still_put_right() -> None:
    row = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "contnt": "a"}]}
    assert "line 1, messages[1].contnt: unknown key 'contnt'; did you mean 'content'?" in faults(row, "openai")[0]


def test_a_null_keeps_the_name_that_it_has_in_the_file() -> None:
    row = {"conversations": [{"from": "human", "value": None}, {"from": "gpt", "value": "a"}]}
    assert faults(row, "sharegpt")[0].startswith("line 1, conversations[0].value: the user message is empty")


def test_a_missing_answer_is_said_to_be_missing() -> None:
    assert faults({"instruction": "q"}, "alpaca")[0] == "line 1, output: the key 'output' is missing; give a string"


@pytest.mark.parametrize("arguments", ['{"x": 1, "x": 2}', '{"a": {"x": 1, "x": 1}}'])
def test_a_key_twice_in_arguments_would_lose_one(arguments: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    row = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": [call]}]}
    assert faults(row, "openai") == [
        "line 1, messages[1].tool_calls[0].function.arguments: the key 'x' stands twice in the arguments; "
        "keep one of the two"
    ]
