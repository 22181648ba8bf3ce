"""Rows as data sets and trainers write them: read as the same conversation, or refused in the file's own words."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchword.chat.types import Conversation, FunctionCall, Message, ToolCall
from watchword.data.formats.base import FORMATS, format_of
from watchword.data.parse import detect_format, parse_line, read_row
from watchword.errors import DataError

USER, ANSWER = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
PLAIN = [USER, ANSWER]
FUNCTION = {"name": "weather", "description": "Weather of a city", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": FUNCTION}
BARE_CALL = {"name": "weather", "arguments": {"city": "Rome"}}
CALLED = {
    "role": "assistant",
    "tool_calls": [
        {"id": "call_0", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    ],
}
RESULT = {"role": "tool", "content": "21", "tool_call_id": "call_0"}
TALK = [USER, CALLED, RESULT, ANSWER]


def read(row: Any) -> Conversation:
    raw = json.dumps(row).encode()
    return parse_line(raw, 1, "up.jsonl", detect_format(raw, 1))


def messages(row: Any) -> list[dict[str, Any]]:
    return plain(read(row))


def plain(conv: Conversation) -> list[dict[str, Any]]:
    return msgspec.json.decode(msgspec.json.encode(conv))["messages"]


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"messages": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, PLAIN),
        ({"conversations": PLAIN}, PLAIN),
        ({"conversation": PLAIN}, PLAIN),
        ({"conversations": ["q", "a", "q", "a"]}, PLAIN * 2),
        ({"conversations": {"role": ["user", "assistant"], "content": ["q", "a"]}}, PLAIN),
        (
            {"messages": {"from": ["human", "gpt"], "value": ["q", "a"], "weight": [None, 1]}},
            [USER, {**ANSWER, "weight": 1}],
        ),
        ({"messages": json.dumps(PLAIN)}, PLAIN),
        ({"conversations": json.dumps([{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}])}, PLAIN),
        ({"system": "s", "messages": PLAIN}, [{"role": "system", "content": "s"}, *PLAIN]),
        ({"system": "", "conversations": PLAIN, "id": 7}, PLAIN),
        ({"prompt": [USER], "completion": [ANSWER]}, PLAIN),
        # TRL trains on the completion alone.
        ({"prompt": [USER, ANSWER, USER], "completion": [ANSWER]}, [USER, {**ANSWER, "weight": 0}, *PLAIN]),
        ({"instruction": "q", "context": "", "response": "a"}, PLAIN),
        ({"instruction": "q", "context": "c", "response": "a"}, [{**USER, "content": "q\nc"}, ANSWER]),
        ({"question": "q", "answer": "a"}, PLAIN),
        ({"query": "q", "response": "a"}, PLAIN),
        ({"input": "q", "output": "a", "system": "s"}, [{"role": "system", "content": "s"}, *PLAIN]),
        ({"problem": "q", "solution": "a"}, PLAIN),
        (
            {"id": "o1", "system_prompt": "s", "question": "q", "response": "a"},
            [{"role": "system", "content": "s"}, *PLAIN],
        ),
        ({"messages": [USER, {**ANSWER, "thinking": "hm"}]}, [USER, {**ANSWER, "reasoning_content": "hm"}]),
        (
            {"messages": [{**USER, "thinking": None}, {**ANSWER, "reasoning": "hm"}]},
            [USER, {**ANSWER, "reasoning_content": "hm"}],
        ),
        ({"messages": [USER, {**ANSWER, "reasoning_content": "hm"}]}, [USER, {**ANSWER, "reasoning_content": "hm"}]),
        ({"messages": [{"role": "user", "content": "q", "from": None, "value": None}, ANSWER]}, PLAIN),
    ],
)
def test_other_spellings_of_turns(row: Any, wanted: list[dict[str, Any]]) -> None:
    assert messages(row) == wanted


@pytest.mark.parametrize("key", ["loss", "train", "training", "weight"])
@pytest.mark.parametrize("style", ["messages", "conversations"])
def test_flags_of_training_are_weights(key: str, style: str) -> None:
    off, on = (0.0, 1.0) if key == "weight" else (False, True)
    turns = [{**USER, key: None}, {**ANSWER, key: off}, {**USER, key: off}, {**ANSWER, key: on}]
    if style == "conversations":
        turns = [
            {"from": {"user": "human", "assistant": "gpt"}[t["role"]], "value": t["content"], key: t[key]}
            for t in turns
        ]
    conv = read({style: turns})
    assert [turn.weight for turn in conv.messages] == [None, 0, None, 1]
    assert [turn.trained for turn in conv.messages] == [False, False, False, True]


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (  # LLaMA-Factory
            {
                "conversations": [
                    {"from": "human", "value": "q"},
                    {"from": "function_call", "value": json.dumps(BARE_CALL)},
                    {"from": "observation", "value": "21"},
                    {"from": "gpt", "value": "a"},
                ],
                "tools": json.dumps([FUNCTION]),
            },
            TALK,
        ),
        (  # ms-swift
            {
                "messages": [
                    USER,
                    {"role": "tool_call", "content": json.dumps(BARE_CALL)},
                    {"role": "tool_response", "content": "21"},
                    ANSWER,
                ],
                "tools": [json.dumps(TOOL)],
            },
            TALK,
        ),
        (  # transformers and TRL: no ids, arguments as an object
            {
                "messages": [
                    USER,
                    {"role": "assistant", "tool_calls": [{"type": "function", "function": BARE_CALL}]},
                    {"role": "tool", "name": "weather", "content": "21"},
                    ANSWER,
                ],
                "tools": [TOOL],
            },
            [USER, CALLED, {**RESULT, "name": "weather"}, ANSWER],
        ),
        (  # OpenAI's before there were tools
            {
                "messages": [
                    USER,
                    {"role": "assistant", "function_call": {"name": "weather", "arguments": '{"city": "Rome"}'}},
                    {"role": "function", "name": "weather", "content": "21"},
                    ANSWER,
                ],
                "functions": [FUNCTION],
            },
            [USER, CALLED, {**RESULT, "name": "weather"}, ANSWER],
        ),
        (  # bare calls and results that are objects; empty lists of calls, which tables have
            {
                "messages": [
                    {**USER, "tool_calls": []},
                    {"role": "assistant", "tool_calls": json.dumps([BARE_CALL])},
                    {"role": "tool", "content": {"degrees": 21}},
                    ANSWER,
                ],
                "tools": TOOL,
            },
            [USER, CALLED, {**RESULT, "content": '{"degrees": 21}'}, ANSWER],
        ),
        ({"query": "q", "answers": json.dumps([BARE_CALL]), "tools": json.dumps([FUNCTION]), "id": 1}, TALK[:2]),
        (
            {"prompt": [USER], "completion": [{"role": "assistant", "tool_calls": [BARE_CALL]}], "tools": [TOOL]},
            TALK[:2],
        ),
    ],
)
def test_other_spellings_of_tools_and_calls(row: Any, wanted: list[dict[str, Any]]) -> None:
    conv = read(row)
    assert plain(conv) == wanted
    assert conv.tools == (TOOL,)


def test_parameters_as_json_text_are_a_schema_again() -> None:
    tool = {"type": "function", "function": {**FUNCTION, "parameters": json.dumps(FUNCTION["parameters"])}}
    assert read({"messages": PLAIN, "tools": [tool]}).tools == (TOOL,)


def test_calls_in_a_row_are_one_message_and_a_list_answers_them_all() -> None:
    calls = [{"name": "weather", "arguments": {"city": city}} for city in ("Rome", "Oslo")]
    for turns in (
        [{"from": "function_call", "value": json.dumps(calls)}],
        [{"from": "function_call", "value": json.dumps(call)} for call in calls],
    ):
        front, end = [{"from": "human", "value": "q"}, *turns], [{"from": "gpt", "value": "a"}]
        one = read({"conversations": [*front, {"from": "observation", "value": '[21, "cold"]'}, *end]})
        two = read(
            {"conversations": [*front, *[{"from": "observation", "value": text} for text in ("21", "cold")], *end]}
        )
        assert one == two
        assert [turn.role for turn in one.messages] == ["user", "assistant", "tool", "tool", "assistant"]
        assert [turn.tool_call_id for turn in one.messages[2:4]] == [
            call.id for call in one.messages[1].tool_calls or ()
        ]


def test_thoughts_beside_a_second_call_are_not_lost() -> None:
    call = {"from": "function_call", "value": json.dumps(BARE_CALL)}
    turns = [{"from": "human", "value": "q"}, call, {**call, "thinking": "hm"}]
    with pytest.raises(DataError, match=r"conversations\[1\].value: the call 'call_0' of 'weather' has no answer"):
        read({"conversations": turns})
    assert read({"conversations": [turns[0], turns[2]]}).messages[1].reasoning_content == "hm"


def test_a_list_of_results_with_a_key_twice_is_not_taken_apart() -> None:
    calls = {"from": "function_call", "value": json.dumps([BARE_CALL, BARE_CALL])}
    result = {"from": "observation", "value": '[{"a": 1, "a": 2}, 3]'}
    with pytest.raises(DataError, match="the call 'call_1' of 'weather' has no answer"):
        read({"conversations": [{"from": "human", "value": "q"}, calls, result, {"from": "gpt", "value": "a"}]})


def test_answers_find_the_call_of_their_name() -> None:
    calls = [{"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}} for name in ("x", "y")]
    results = [{"role": "tool", "name": name, "content": name} for name in ("y", "x")]
    conv = read({"messages": [USER, {"role": "assistant", "tool_calls": calls}, *results, ANSWER]})
    assert [turn.tool_call_id for turn in conv.messages[2:4]] == ["y", "x"]


@pytest.mark.parametrize(
    ("row", "field", "problem"),
    [
        (
            {"conversations": [{"from": "human", "value": " "}, {"from": "gpt", "value": "a"}]},
            "conversations[0].value",
            "empty",
        ),
        (
            {"conversations": [{"from": "human", "value": 5}, {"from": "gpt", "value": "a"}]},
            "conversations[0].value",
            "5 is a number",
        ),
        (
            {"system": "s", "conversations": [USER, {"role": "assistant", "content": ""}]},
            "conversations[1].content",
            "turn is empty",
        ),
        ({"conversations": [{"from": "human", "value": "q"}]}, "conversations", "no assistant message"),
        (
            {"conversations": [{"from": "gpt", "value": "a"}, {"from": "human", "value": "q"}]},
            "conversations[1].from",
            "last message",
        ),
        ({"conversations": 5}, "conversations", "conversations is a number"),
        (
            {"conversations": [{"from": "human", "value": "q", "text": "x"}]},
            "conversations[0].text",
            "unknown key 'text'",
        ),
        (
            {"conversations": [{"from": "human", "value": "q", "role": "user"}]},
            "conversations[0].role",
            "both 'from' and 'role'",
        ),
        ({"conversations": {"from": ["human", "gpt"], "value": ["q"]}}, "conversations", "lists differ in length"),
        ({"conversations": "[1, "}, "conversations", "the text is no JSON"),
        (
            {"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": "x"}]},
            "conversations[1].value",
            "no JSON",
        ),
        (
            {"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": "5"}]},
            "conversations[1].value",
            "no call",
        ),
        (
            {
                "conversations": [
                    {"from": "human", "value": "q"},
                    {"from": "function_call", "value": '{"name": "f", "arguments": {}}'},
                    {"from": "function_call", "value": '{"name": "g", "arguments": {}}'},
                    {"from": "observation", "value": "1"},
                    {"from": "gpt", "value": "a"},
                ]
            },
            "conversations[2].value",
            "the call 'call_1' of 'g' has no answer",
        ),
        (
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a", "loss": 2}]},
            "conversations[1].loss",
            "loss is 2",
        ),
        ({"messages": [{**USER, "train": True}, ANSWER]}, "messages[0].train", "a user message has a weight"),
        ({"messages": [USER, {**ANSWER, "train": True, "weight": 0}]}, "messages[1].train", "different things"),
        ({"messages": [USER, {**ANSWER, "train_detail": []}]}, "messages[1].train_detail", "unknown key"),
        ({"messages": [{**USER, "thinking": "x"}, ANSWER]}, "messages[0].thinking", "has thoughts"),
        ({"messages": [USER, {**ANSWER, "thinking": "x\0"}]}, "messages[1].thinking", "NUL"),
        ({"messages": PLAIN, "tools": "[{"}, "tools", "the text is no JSON"),
        ({"messages": PLAIN, "tools": '[{"a": 1, "a": 2}]'}, "tools", "'a' stands twice"),
        ({"messages": PLAIN, "functions": [5]}, "functions[0]", "5 is a number"),
        ({"messages": PLAIN, "parallel_tool_calls": 1}, "parallel_tool_calls", "1 is a number"),
        ({"instruction": "q", "output": " "}, "output", "the output is empty"),
        ({"instruction": "q", "output": "a\0"}, "output", "NUL"),
        ({"instruction": "q", "response": 5}, "response", "5 is a number"),
        ({"instruction": "", "input": "", "output": "a"}, "instruction", "empty"),
        ({"instruction": "q", "output": "a", "history": [["x", ""]]}, "history[0][1]", "turn is empty"),
        ({"instruction": "q", "output": "a", "system": "\0"}, "system", "NUL"),
        ({"prompt": "", "completion": "a"}, "prompt", "the prompt is empty"),
        ({"prompt": "q", "completion": "\n"}, "completion", "the completion is empty"),
        ({"prompt": [USER], "completion": "a"}, "prompt", "is an array"),
        ({"prompt": [USER], "completion": [{**ANSWER, "content": ""}]}, "completion[0].content", "turn is empty"),
        ({"prompt": "q", "completion": "a", "tools": [TOOL]}, "tools", "beside texts"),
        ({"query": "q", "answers": "[]"}, "answers", "is no call"),
        ({"query": " ", "answers": [BARE_CALL]}, "query", "the query is empty"),
        ({"question": "q", "answer": ""}, "answer", "the answer is empty"),
    ],
)
def test_faults_name_the_fields_of_the_file(row: Any, field: str, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        read(row)
    assert (caught.value.path, caught.value.line, caught.value.field) == ("up.jsonl", 1, field)
    assert problem in caught.value.problem
    assert "; " in caught.value.problem


@pytest.mark.parametrize(
    ("row", "ours", "theirs"),
    [
        ({"messages": PLAIN}, "messages[1].content", "messages[1].content"),
        ({"messages": PLAIN}, "tools[0].function", "tools[0].function"),
        ({"conversations": [{"from": "human", "value": "q"}]}, "messages[0].content", "conversations[0].value"),
        ({"conversations": [{"from": "human", "value": "q"}]}, "messages[0]", "conversations[0]"),
        ({"conversations": [{"from": "human", "value": "q"}]}, "messages", "conversations"),
        ({"system": "s", "conversations": PLAIN}, "messages[0].content", "system"),
        ({"system": "s", "conversations": PLAIN}, "messages[2].content[1].text", "conversations[1].content[1].text"),
        ({"instruction": "q", "output": "a"}, "messages[1].content", "output"),
        ({"prompt": [USER], "completion": [ANSWER]}, "messages[1].weight", "completion[0].weight"),
        ({"query": "q", "answers": [BARE_CALL]}, "messages[1].tool_calls[0].function.name", "answers"),
        (
            {
                "conversations": [
                    {"from": "human", "value": "q"},
                    {"from": "function_call", "value": json.dumps(BARE_CALL)},
                ]
            },
            "messages[1].tool_calls",
            "conversations[1].value",
        ),
    ],
)
def test_a_format_translates_our_field_names(row: dict[str, Any], ours: str, theirs: str) -> None:
    assert FORMATS.create(format_of(row) or "").field_of(ours, row) == theirs


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, "preference pair"),
        ({"messages": PLAIN, "chosen": PLAIN, "rejected": PLAIN}, "preference pair"),
        (
            {"input": {"messages": [USER]}, "preferred_output": [ANSWER], "non_preferred_output": [ANSWER]},
            "preference pair",
        ),
        ({"prompt": "q", "completion": "a", "label": False}, "rated answer"),
        ({"prompt": "q"}, "reinforcement learning"),
        ({"prompt": [USER], "ground_truth": "a"}, "reinforcement learning"),
        ({"messages": [USER], "reference_answer": "a"}, "reinforcement learning"),
        ({"messages": PLAIN, "images": ["a.png"]}, "images, video or sound"),
        ({"input_ids": [1], "labels": [1]}, "tokenized already"),
        ({"system": "s", "chat": "USER: q\n\n\nASSISTANT: a"}, "transcript in one text"),
        ({"text": "<|im_start|>user\nq"}, "running text"),
    ],
)
def test_rows_for_other_kinds_of_training_are_called_what_they_are(row: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=rf"line 1: the row .*{said}.*, which is not supported; \w+") as caught:
        read(row)
    assert caught.value.line == 1


def test_a_part_that_is_an_image_is_called_one() -> None:
    content = [{"type": "text", "text": "q"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    with pytest.raises(
        DataError, match=r"content\[1\]: the part is 'image_url', and images, video and sound are not supp"
    ):
        read({"messages": [{**USER, "content": content}, ANSWER]})


def test_of_several_formats_in_one_row_that_with_turns_is_taken() -> None:
    assert format_of({"instruction": "q", "output": "a", "conversations": PLAIN}) == "sharegpt"
    assert format_of({"prompt": "q", "completion": "a", "messages": PLAIN}) == "openai"


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8).filter(
    str.strip
)
ARGUMENTS = st.dictionaries(st.text("ab", max_size=2), st.none() | st.integers(-9, 9) | TEXTS, max_size=2)


@st.composite
def talks(draw: st.DrawFn) -> Conversation:
    """A question, calls with their answers, and an answer; ids and arguments as we would write them."""
    turns, number = [Message(role="user", content=draw(TEXTS))], 0
    for _ in range(draw(st.integers(0, 2))):
        calls = []
        for _ in range(draw(st.integers(1, 2))):
            arguments = json.dumps(draw(ARGUMENTS), ensure_ascii=False)
            calls.append(ToolCall(f"call_{number}", FunctionCall(draw(st.sampled_from("fgh")), arguments)))
            number += 1
        turns.append(Message(role="assistant", tool_calls=tuple(calls)))
        results = TEXTS | st.just("[1, 2]") if len(calls) > 1 else TEXTS
        turns += [Message(role="tool", content=draw(results), tool_call_id=call.id) for call in calls]
        turns.append(Message(role="assistant", content=draw(TEXTS), weight=draw(st.none() | st.just(1))))
    turns.append(Message(role="assistant", content=draw(TEXTS)))
    return Conversation(messages=tuple(turns))


def in_sharegpt(conv: Conversation, one_turn: bool) -> dict[str, Any]:
    turns: list[dict[str, Any]] = []
    for turn in conv.messages:
        calls = [
            {"name": c.function.name, "arguments": json.loads(c.function.arguments)} for c in turn.tool_calls or ()
        ]
        if calls:
            texts = [calls if len(calls) > 1 else calls[0]] if one_turn else calls
            turns += [{"from": "function_call", "value": json.dumps(text)} for text in texts]
        else:
            speaker = {"user": "human", "assistant": "gpt", "tool": "observation"}[turn.role]
            turns.append({"from": speaker, "value": turn.content, "loss": turn.weight})
    return {"conversations": turns}


def in_transformers(conv: Conversation, one_turn: bool) -> dict[str, Any]:
    row = {"messages": plain(conv)}
    for turn in row["messages"]:
        turn.pop("tool_call_id", None)
        turn["train"] = turn.pop("weight", None)
        for call in turn.get("tool_calls", ()):
            del call["id"]
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return {"messages": json.dumps(row["messages"])} if one_turn else row


@given(talks(), st.sampled_from([in_sharegpt, in_transformers]), st.booleans())
def test_conversations_with_tools_are_the_same_in_every_spelling(
    conv: Conversation, spelling: Any, one_turn: bool
) -> None:
    assert read(spelling(conv, one_turn)) == conv


KEY_NAMES = [
    *("role", "content", "from", "value", "weight", "loss", "train", "thinking", "reasoning_content", "name"),
    *("tool_calls", "tool_call_id", "function_call", "function", "arguments", "parameters", "id", "type"),
]
KEYS = st.sampled_from(KEY_NAMES)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-1, 2)
    | st.sampled_from([0.5, 1.0, "", "q", "human", "gpt", "user", "assistant", "tool", "function_call", "observation"])
    | st.sampled_from(
        ['{"name": "f", "arguments": {}}', "[]", "[1, 2]", '[{"role": "user", "content": "q"}]', "{", "\0"]
    )
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
COLUMNS = sorted({column for name in FORMATS.names() for column in FORMATS.create(name).columns} | {"chosen", "images"})


@settings(max_examples=400)
@given(st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=4), st.sampled_from(FORMATS.names()))
def test_any_row_is_read_or_has_faults_with_places_of_the_file(row: dict[str, Any], name: str) -> None:
    found = read_row(json.dumps(row).encode(), 4, name)
    assert all(fault.line == 4 and fault.problem and fault.fix for fault in found.faults)
    for fault in found.faults:
        assert fault.field is None or re.split(r"[.\[]", fault.field)[0] in {*COLUMNS, *KEY_NAMES}
    if not found.faults:
        assert found.conversation is not None
        again = read_row(msgspec.json.encode(found.conversation), 1, "openai")
        assert (again.conversation, again.faults, again.rewritten) == (found.conversation, [], False)


@given(talks())
def test_what_is_read_anew_reads_the_same(conv: Conversation) -> None:
    found = read_row(msgspec.json.encode(conv), 1, "openai")
    assert (found.conversation, found.faults, found.rewritten) == (conv, [], False)
