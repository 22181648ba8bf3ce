"""/v1/responses with the official ``openai`` client as caller: items in, items and events out, nothing stored."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response

from support.gateway_parts import (
    MODEL,
    TENANT_KEY,
    Scripted,
    call,
    completion,
)
from support.gateway_scripts import by_text, replying
from support.served_release import secret_of
from watchword.errors import CallError
from watchword.gateway.wire.responses.reading import read_responses

SECRET = secret_of().reveal()
PNG = "data:image/png;base64,AAAA"
OVEN = {"type": "function", "name": "oven", "parameters": {"type": "object"}, "strict": False}


@pytest.fixture(scope="module")
def upstream() -> Scripted:
    refusing = {"role": "assistant", "content": None, "refusal": "I cannot."}
    scripts = {
        "short": replying(completion("Mix"), finish_reason="length"),
        "no": replying(completion(""), message=refusing),
    }
    return Scripted(by_text(scripts))


@pytest.fixture(scope="module")
def client(port: int) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=TENANT_KEY, max_retries=0) as made:
        yield made


def test_a_whole_response_gives_the_tenants_own_settings_back(client: Any, upstream: Scripted) -> None:
    found = client.responses.create(
        model=MODEL,
        instructions="Be brief.",
        input="How do I bake bread?",
        temperature=0.5,
        max_output_tokens=40,
        metadata={"a": "b"},
        user="ann",
        text={"format": {"type": "json_schema", "name": "s", "schema": {"type": "object"}, "strict": True}},
    )
    assert (found.output_text, found.status, found.store) == ("Mix flour, water and salt.", "completed", False)
    assert (found.instructions, found.temperature, found.metadata, found.user) == (
        "Be brief.",
        0.5,
        {"a": "b"},
        "ann",
    )
    assert found.usage.total_tokens == found.usage.input_tokens + found.usage.output_tokens
    assert found.text.format.name == "s"
    body = upstream.bodies[-1]
    assert body["messages"] == [
        {"role": "system", "content": f"{SECRET}\nBe brief."},
        {"role": "user", "content": "How do I bake bread?"},
    ]
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "s", "schema": {"type": "object"}, "strict": True},
    }
    assert {name: body[name] for name in ("temperature", "max_tokens", "model")} == {
        "temperature": 0.5,
        "max_tokens": 40,
        "model": "ftm-1",
    }
    assert "metadata" not in body


def test_every_field_of_a_response_is_one_that_the_client_knows(port: int) -> None:
    found = call(port, {"model": MODEL, "input": "Hi"}, path="/v1/responses").json
    Response.model_validate(found, strict=False)
    # The API has it, and the client does not.
    assert set(found) - {"store"} <= set(Response.model_fields)
    required = {name for name, field in Response.model_fields.items() if field.is_required()}
    assert required <= set(found)


KINDS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


def test_a_stream_has_the_whole_sequence_of_events(client: Any, port: int) -> None:
    events = list(client.responses.create(model=MODEL, input="Hi", stream=True))
    assert once(one.type for one in events) == KINDS
    assert [one.sequence_number for one in events] == list(range(len(events)))
    assert (
        "".join(one.delta for one in events if one.type == "response.output_text.delta")
        == events[-1].response.output_text
    )
    assert events[-1].response.usage.output_tokens == 9
    assert len({one.response.id for one in events if hasattr(one, "response")}) == 1
    raw = call(port, {"model": MODEL, "input": "Hi", "stream": True}, path="/v1/responses").body.decode()
    names = [line.removeprefix("event: ") for line in raw.splitlines() if line.startswith("event: ")]
    assert once(names) == KINDS


def once(kinds: Iterable[str]) -> list[str]:
    """Kinds of events, of several alike in a row one alone: how much is held back decides how many there are."""
    return [kind for kind, _ in itertools.groupby(kinds)]


def test_calls_come_whole_and_streamed_and_go_back_as_items(client: Any, upstream: Scripted) -> None:
    whole = client.responses.create(model=MODEL, input="Bake", tools=[OVEN], tool_choice="required")
    (called,) = whole.output
    assert (called.type, called.name, called.arguments, called.status) == (
        "function_call",
        "oven",
        '{"degrees": 220}',
        "completed",
    )
    assert upstream.bodies[-1]["tools"] == [
        {"type": "function", "function": {"name": "oven", "parameters": {"type": "object"}, "strict": False}}
    ]
    with client.responses.stream(model=MODEL, input="Bake", tools=[OVEN]) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.output[0].arguments == '{"degrees": 220}'
    kinds = [one.type for one in events]
    assert kinds.index("response.output_item.added") < kinds.index("response.function_call_arguments.delta")
    assert kinds[-3:] == [
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    items = [
        {"role": "user", "content": "Bake"},
        *(item.to_dict() for item in whole.output),
        {"type": "function_call_output", "call_id": called.call_id, "output": "done"},
    ]
    assert client.responses.create(model=MODEL, input=items).output_text
    call_of = {"name": "oven", "arguments": '{"degrees": 220}'}
    assert upstream.bodies[-1]["messages"][1:] == [
        {"role": "user", "content": "Bake"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": called.call_id, "type": "function", "function": call_of}],
        },
        {"role": "tool", "content": "done", "tool_call_id": called.call_id},
    ]


def test_a_whole_talk_of_items_arrives(client: Any, upstream: Scripted) -> None:
    first = client.responses.create(model=MODEL, input="Hi")
    items = [
        {
            "role": "developer",
            "content": [{"type": "input_text", "text": "Be "}, {"type": "input_text", "text": "kind."}],
        },
        {"role": "user", "content": [{"type": "input_image", "image_url": PNG, "detail": "low"}]},
        *(item.to_dict() for item in first.output),
        {"type": "function_call", "call_id": "call12345", "name": "oven", "arguments": "{}"},
        {"type": "function_call", "call_id": "call12346", "name": "oven", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call12345", "output": [{"type": "input_text", "text": "a"}]},
        {"type": "function_call_output", "call_id": "call12346", "output": "b"},
    ]
    client.responses.create(model=MODEL, input=items)
    system, picture, said, *results = upstream.bodies[-1]["messages"]
    assert system["content"] == f"{SECRET}\nBe kind."
    assert picture["content"] == [{"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}]
    assert said["content"] == "Mix flour, water and salt."
    assert [called["id"] for called in said["tool_calls"]] == ["call12345", "call12346"]
    assert [(one["tool_call_id"], one["content"]) for one in results] == [("call12345", "a"), ("call12346", "b")]


def test_what_ended_early_and_what_was_refused_is_told(client: Any) -> None:
    short = client.responses.create(model=MODEL, input="short")
    assert (short.status, short.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert short.output[0].status == "incomplete"
    (refused,) = client.responses.create(model=MODEL, input="no").output
    assert refused.content[0].refusal == "I cannot."
    *_, last = client.responses.create(model=MODEL, input="break", stream=True)
    assert (last.type, last.response.status, last.response.error.code) == (
        "response.failed",
        "failed",
        "server_error",
    )
    assert "CUDA" not in last.to_json()


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"store": True}, "unsupported_parameter", "store"),
        ({"previous_response_id": "resp_1"}, "unsupported_parameter", "previous_response_id"),
        ({"conversation": "conv_1"}, "unsupported_parameter", "conversation"),
        ({"background": True}, "unsupported_parameter", "background"),
        ({"include": ["message.output_text.logprobs"]}, "unsupported_parameter", "include"),
        ({"prompt": {"id": "x"}}, "unsupported_parameter", "prompt"),
        ({"reasoning": {"effort": "low"}}, "unsupported_parameter", "reasoning"),
        ({"truncation": "auto"}, "unsupported_parameter", "truncation"),
        ({"top_logprobs": 3}, "unsupported_parameter", "top_logprobs"),
        ({"max_tool_calls": 3}, "unsupported_parameter", "max_tool_calls"),
        ({"service_tier": "flex"}, "unsupported_parameter", "service_tier"),
        ({"stream_options": {"include_obfuscation": False}}, "unsupported_parameter", "stream_options"),
        ({"seed": 1}, "unknown_parameter", "seed"),
        ({"text": {"verbosity": "low"}}, "unknown_parameter", "text.verbosity"),
        ({"tools": [{"type": "web_search"}]}, None, None),
        ({"tools": [{**OVEN, "defer_loading": True}]}, "unknown_parameter", "tools[0].defer_loading"),
        ({"input": []}, "invalid_value", "input"),
        ({"input": [{"role": "user", "content": "Hi", "x": 1}]}, "unknown_parameter", "input[0].x"),
        ({"input": [{"role": "ghost", "content": "Hi"}]}, "invalid_value", "input[0].role"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "invalid_value", "input[0].type"),
        ({"input": [{"type": "user", "content": "x"}]}, "invalid_value", "input[0].type"),
        ({"input": [{"type": "function_call", "role": "user"}]}, "unknown_parameter", "input[0].role"),
        ({"input": [{"role": "user"}]}, "missing_required_parameter", "input[0].content"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]},
            "invalid_value",
            "input[0].content[0].type",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://x.test/a.png"}]}]},
            "invalid_value",
            "input",
        ),
        (
            {"input": [{"role": "user", "content": "Hi"}, {"role": "system", "content": "x"}]},
            "invalid_value",
            "input[1].role",
        ),
        ({"instructions": "x", "input": [{"role": "developer", "content": "x"}]}, "invalid_value", "input[0].role"),
        (
            {"input": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Sure, step 1:"}]},
            "invalid_value",
            "input[1].role",
        ),
    ],
)
def test_what_is_not_taken_is_named(fields: dict[str, Any], code: str | None, param: str | None) -> None:
    with pytest.raises(CallError) as caught:
        read_responses(json.dumps({"model": MODEL, "input": "Hi", **fields}).encode())
    assert code is None or caught.value.openai_code == code
    assert param is None or caught.value.param == param


@pytest.mark.parametrize(
    "fields",
    [
        {"store": False, "background": False, "include": [], "truncation": "disabled"},
        {"previous_response_id": None, "conversation": None, "reasoning": None, "prompt_cache_key": "x"},
        {"safety_identifier": "x", "tool_choice": {"type": "function", "name": "oven"}, "tools": [OVEN]},
        {"text": {"format": {"type": "json_object"}}, "top_p": 0.5, "parallel_tool_calls": False},
        {"text": {"format": {"type": "text"}}},
    ],
)
def test_what_asks_for_nothing_special_is_taken(port: int, fields: dict[str, Any]) -> None:
    found = call(port, {"model": MODEL, "input": "Hi", **fields}, path="/v1/responses")
    assert found.status == 200, found.body
    for name in ("tool_choice", "parallel_tool_calls", "top_p", "safety_identifier", "store"):
        assert found.json[name] == fields.get(name, found.json[name])


@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_clean_error(data: bytes) -> None:
    with pytest.raises(CallError) as caught:
        read_responses(data)
    assert caught.value.openai_code in (
        "invalid_json",
        "invalid_value",
        "missing_required_parameter",
        "unknown_parameter",
    )


def test_nothing_is_stored_and_that_is_said(client: Any) -> None:
    for ask in (
        lambda: client.responses.retrieve("resp_1"),
        lambda: client.responses.delete("resp_1"),
        lambda: client.responses.cancel("resp_1"),
        lambda: client.responses.input_items.list("resp_1"),
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            ask()
        assert caught.value.code == "not_stored"
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wk-x").responses.retrieve("resp_1")
