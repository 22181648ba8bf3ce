"""/v1/messages with the official ``anthropic`` client as caller: blocks in, blocks and events out, errors in its form."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.gateway_parts import (
    DONE,
    MODEL,
    OTHER_MODEL,
    TENANT_KEY,
    Scripted,
    begin,
    call,
    completion,
    configuration,
    end,
    gateway,
    more,
    respond,
    usage_event,
)
from support.gateway_scripts import by_text, replying
from support.golden_families import template
from support.served_release import secret_of
from watchword.chat.render import render_prompt
from watchword.chat.types import conversation
from watchword.errors import CallError
from watchword.gateway.wire.messages.reading import read_messages

SECRET = secret_of().reveal()
OVEN = {"name": "oven", "description": "Set it", "input_schema": {"type": "object"}}
ASK: dict[str, Any] = {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
CACHED = {"cache_control": {"type": "ephemeral"}}


async def stopped(_: Scripted, body: dict[str, Any], send: Any) -> None:
    if not body.get("stream"):
        await replying(completion("One"), stop_reason="END")(_, body, send)
        return
    await begin(send)
    last = {"index": 0, "delta": {"content": "One"}, "finish_reason": "stop", "stop_reason": "END"}
    await more(send, b"data: " + json.dumps({"choices": [last]}).encode() + b"\n\n" + usage_event() + DONE)
    await end(send)


async def failing(_: Scripted, body: dict[str, Any], send: Any) -> None:
    await respond(send, b"CUDA out of memory at /srv", int(body["messages"][-1]["content"]))


@pytest.fixture(scope="module")
def upstream() -> Scripted:
    odd = {"tool_calls": [{"function": {"name": "oven", "arguments": "[220"}}]}
    scripts = {
        "stopped": stopped,
        "lied": replying(completion("One"), stop_reason=SECRET),
        "length": replying(completion("One"), finish_reason="length"),
        "no object": replying(completion("One"), message=odd, finish_reason="stop"),
        **dict.fromkeys(("503", "500", "429", "400"), failing),
    }
    return Scripted(by_text(scripts))


def client_of(port: int, **options: Any) -> Any:
    given = {"api_key": TENANT_KEY, "max_retries": 0, **options}
    return anthropic.Anthropic(base_url=f"http://127.0.0.1:{port}", **given)


@pytest.fixture(scope="module")
def client(port: int) -> Iterator[Any]:
    with client_of(port) as made:
        yield made


def ask(client: Any, text: str, **fields: Any) -> Any:
    return client.messages.create(**{**ASK, "messages": [{"role": "user", "content": text}], **fields})


def test_a_whole_message(client: Any, upstream: Scripted) -> None:
    found = client.messages.create(
        **ASK,
        system=[{"type": "text", "text": "Be brief.", **CACHED}],
        stop_sequences=["END"],
        metadata={"user_id": "ann"},
        thinking={"type": "disabled"},
        service_tier="auto",
        extra_body={"temperature": 0.5, "top_p": 0.9},
    )
    assert [block.text for block in found.content] == ["Mix flour, water and salt."]
    assert (found.stop_reason, found.stop_sequence, found.model, found.role) == ("end_turn", None, MODEL, "assistant")
    asked = conversation("Hi", system="Be brief.")
    assert found.usage.output_tokens == 9
    assert found.usage.input_tokens < 120
    body = upstream.bodies[-1]
    assert body["messages"] == [
        {"role": "system", "content": f"{SECRET}\nBe brief."},
        {"role": "user", "content": "Hi"},
    ]
    assert {name: value for name, value in body.items() if name not in ("messages", "cache_salt")} == {
        "model": "ftm-1",
        "max_tokens": 50,
        "stop": ["END"],
        "temperature": 0.5,
        "top_p": 0.9,
    }
    counted = client.messages.count_tokens(model=MODEL, messages=ASK["messages"], system="Be brief.")
    assert counted.input_tokens == len(render_prompt(asked, template("smollm2")))


def test_a_stream_has_the_whole_sequence_of_events(client: Any, port: int) -> None:
    with client.messages.stream(**ASK) as stream:
        kinds = [one.type for one in stream]
        final = stream.get_final_message()
    assert [block.text for block in final.content] == ["Mix flour, water and salt."]
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 9)
    assert [kind for kind, _ in itertools.groupby(kind for kind in kinds if kind != "text")] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    raw = list(client.messages.create(**ASK, stream=True))
    own = len(render_prompt(conversation("Hi"), template("smollm2")))
    assert (raw[0].message.usage.input_tokens, raw[0].message.content) == (own, [])
    assert raw[-2].usage.output_tokens == 9


def test_calls_come_whole_and_streamed_and_go_back_as_blocks(client: Any, upstream: Scripted) -> None:
    whole = client.messages.create(**ASK, tools=[{**OVEN, **CACHED}], tool_choice={"type": "any"})
    (used,) = whole.content
    assert (used.type, used.name, used.input, whole.stop_reason) == ("tool_use", "oven", {"degrees": 220}, "tool_use")
    assert upstream.bodies[-1]["tool_choice"] == "required"
    assert upstream.bodies[-1]["tools"][0]["function"]["parameters"] == {"type": "object"}
    with client.messages.stream(**ASK, tools=[OVEN]) as stream:
        final = stream.get_final_message()
    assert (final.content[0].input, final.stop_reason) == ({"degrees": 220}, "tool_use")
    result = {"type": "tool_result", "tool_use_id": used.id, "content": [{"type": "text", "text": "done"}], **CACHED}
    png = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    talk = [
        *ASK["messages"],
        {"role": "assistant", "content": [{"type": "text", "text": "Well."}, used.to_dict()]},
        {"role": "user", "content": [result, {"type": "text", "text": "Thanks", **CACHED}, png]},
    ]
    assert client.messages.create(model=MODEL, max_tokens=5, messages=talk).content
    _, _, said, done, thanks = upstream.bodies[-1]["messages"]
    function = {"name": "oven", "arguments": '{"degrees":220}'}
    assert said == {
        "role": "assistant",
        "content": "Well.",
        "tool_calls": [{"id": used.id, "type": "function", "function": function}],
    }
    assert done == {"role": "tool", "content": "done", "tool_call_id": used.id}
    assert thanks["content"] == [
        {"type": "text", "text": "Thanks"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "tool", "name": "oven"}, {"tool_choice": {"type": "function", "function": {"name": "oven"}}}),
        ({"type": "any", "disable_parallel_tool_use": True}, {"tool_choice": "required", "parallel_tool_calls": False}),
    ],
)
def test_choices_of_tools(client: Any, upstream: Scripted, choice: Any, sent: dict[str, Any]) -> None:
    client.messages.create(**ASK, tools=[OVEN], tool_choice=choice)
    names = ("tool_choice", "parallel_tool_calls")
    assert {name: value for name, value in upstream.bodies[-1].items() if name in names} == sent


def test_a_schema_for_the_answer_is_one_in_a_chat(client: Any, upstream: Scripted) -> None:
    client.messages.create(**ASK, output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}})
    assert upstream.bodies[-1]["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_why_an_answer_ended(client: Any) -> None:
    stopped = ask(client, "stopped", stop_sequences=["END"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "END")
    with client.messages.stream(
        **{**ASK, "messages": [{"role": "user", "content": "stopped"}], "stop_sequences": ["END"]}
    ) as stream:
        assert stream.get_final_message().stop_sequence == "END"
    # No text of the server's own passes here.
    assert ask(client, "lied", stop_sequences=["END"]).stop_sequence is None
    assert ask(client, "length").stop_reason == "max_tokens"
    odd = ask(client, "no object")
    assert (odd.content[0].input, odd.stop_reason) == ({"INVALID_JSON": "[220"}, "tool_use")


def test_either_header_holds_the_key(port: int) -> None:
    with client_of(port, api_key=None, auth_token=TENANT_KEY) as made:
        assert made.messages.create(**ASK).content
    for headers in ({"x-api-key": "wk-x"}, {"Authorization": "Bearer wk-x"}, {}):
        found = call(port, ASK, path="/v1/messages", key=None, headers=headers)
        assert (found.status, found.json["error"]["type"]) == (401, "authentication_error")
    with client_of(port, api_key=TENANT_KEY) as made:
        assert [model.id for model in made.models.list()] == [MODEL]
        assert made.models.retrieve(MODEL).id == MODEL
    # Elsewhere there is one header only.
    elsewhere = call(port, {"model": MODEL, "messages": []}, key=None, headers={"x-api-key": TENANT_KEY})
    assert elsewhere.status == 401


def test_errors_are_the_clients_own_exceptions_in_our_words(client: Any, port: int) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.messages.create(**{**ASK, "model": OTHER_MODEL})
    assert caught.value.body["error"]["type"] == "not_found_error"
    assert caught.value.body["request_id"] == caught.value.request_id
    for text, kind, name in (
        ("429", anthropic.RateLimitError, "rate_limit_error"),
        ("500", anthropic.InternalServerError, "api_error"),
        ("503", anthropic.APIStatusError, "overloaded_error"),
        ("400", anthropic.BadRequestError, "invalid_request_error"),
    ):
        with pytest.raises(kind) as failed:
            ask(client, text)
        assert failed.value.body["error"]["type"] == name
        assert "CUDA" not in str(failed.value)
    with pytest.raises(anthropic.APIStatusError) as overloaded:
        ask(client, "503")
    assert overloaded.value.status_code == 529
    with pytest.raises(anthropic.APIStatusError) as broken:
        list(ask(client, "break", stream=True))
    assert "CUDA" not in str(broken.value)
    unknown = call(port, {}, path="/v1/messages/batches")
    assert (unknown.status, unknown.json["type"], unknown.json["error"]["type"]) == (404, "error", "not_found_error")
    wrong = call(port, path="/v1/messages", method="GET")
    assert (wrong.status, wrong.json["error"]["type"]) == (405, "invalid_request_error")


def test_a_server_that_is_away_is_an_overload(release: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        behind = closed.getsockname()[1]
    with gateway(configuration(release, behind)) as at:
        found = call(at, ASK, path="/v1/messages")
    assert (found.status, found.json["error"]["type"]) == (529, "overloaded_error")


def result(text: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "x", "content": text}


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"max_tokens": None}, "invalid_value", "max_tokens"),
        ({"top_k": 5}, "unsupported_parameter", "top_k"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "unsupported_parameter", "thinking"),
        ({"mcp_servers": []}, "unsupported_parameter", "mcp_servers"),
        ({"container": "x"}, "unsupported_parameter", "container"),
        ({"context_management": {}}, "unsupported_parameter", "context_management"),
        ({"output_config": {"effort": "low"}}, "unsupported_parameter", "output_config.effort"),
        ({"seed": 1}, "unknown_parameter", "seed"),
        ({"temperature": 1.5}, "invalid_value", "temperature"),
        ({"stop_sequences": ["a"] * 5}, "invalid_value", "stop_sequences"),
        ({"system": [{"type": "text", "text": "x", "y": 1}]}, "unknown_parameter", "system[0].y"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, None, None),
        ({"messages": [{"role": "user", "content": [{"type": "thinking", "thinking": "x"}]}]}, "invalid_value", None),
        (
            {"messages": [*ASK["messages"], {"role": "assistant", "content": "Sure, step 1:"}]},
            "invalid_value",
            "messages[1].role",
        ),
        (
            {"messages": [*ASK["messages"], {"role": "system", "content": "x"}, *ASK["messages"]]},
            "invalid_value",
            "messages[1].role",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, result("y")]}]},
            "invalid_value",
            "messages[0].content",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://x.test"}}]}
                ]
            },
            "invalid_value",
            "messages",
        ),
    ],
)
def test_what_is_not_taken_is_named(fields: dict[str, Any], code: str | None, param: str | None) -> None:
    with pytest.raises(CallError) as caught:
        read_messages(json.dumps({**ASK, **fields}).encode())
    assert code is None or caught.value.openai_code == code
    assert param is None or caught.value.param == param


def test_the_most_tokens_must_be_given(port: int) -> None:
    asked = {name: value for name, value in ASK.items() if name != "max_tokens"}
    found = call(port, asked, path="/v1/messages")
    assert (found.status, found.json["error"]["message"]) == (400, "Missing required parameter: 'max_tokens'.")


@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_clean_error(data: bytes) -> None:
    with pytest.raises(CallError) as caught:
        read_messages(data)
    assert caught.value.openai_code in (
        "invalid_json",
        "invalid_value",
        "missing_required_parameter",
        "unknown_parameter",
    )
