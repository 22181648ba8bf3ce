"""The official ``openai`` client as caller: whole and streamed replies, tools, errors as its own exceptions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from support.gateway_parts import (
    ASKED,
    DONE,
    MODEL,
    TENANT_KEY,
    Scripted,
    begin,
    completion,
    configuration,
    end,
    event,
    friendly,
    gateway,
    more,
    respond,
    served,
    usage_event,
)
from support.golden_families import template
from watchword.chat.render import render_prompt
from watchword.chat.types import conversation

TOOLS = [{"type": "function", "function": {"name": "oven", "parameters": {"type": "object"}}}]


async def script(upstream: Scripted, body: dict[str, Any], send: Any) -> None:
    asked = body["messages"][-1]["content"]
    if asked == "too long":
        message = "This model's maximum context length is 2048 tokens. However, you requested 9999 tokens."
        await respond(send, json.dumps({"object": "error", "message": message, "code": 400}).encode(), 400)
    elif asked == "break":
        await begin(send)
        await more(send, event({"content": "So "}) + b'data: {"error": {"message": "CUDA out of memory at /srv"}}\n\n')
        await end(send)
    elif asked == "fail":
        await respond(send, b"CUDA out of memory at /srv", 500)
    elif "tools" in body and body.get("stream"):
        await begin(send)
        called = {"index": 0, "id": "x", "type": "function", "function": {"name": "oven", "arguments": ""}}
        await more(send, event({"role": "assistant", "content": None, "tool_calls": [called]}))
        for piece in ('{"deg', 'rees": ', "220}"):
            await more(send, event({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}))
        await more(send, event({}, finish="tool_calls") + usage_event() + DONE)
        await end(send)
    elif "tools" in body:
        reply = completion("")
        called = {"id": "x", "type": "function", "function": {"name": "oven", "arguments": '{"degrees": 220}'}}
        reply["choices"][0] |= {
            "message": {"role": "assistant", "content": None, "tool_calls": [called]},
            "finish_reason": "tool_calls",
        }
        await respond(send, json.dumps(reply).encode())
    else:
        await friendly(upstream, body, send)


@pytest.fixture(scope="module")
def client(release: Path) -> Iterator[Any]:
    with served(Scripted(script)) as behind:
        settings = configuration(release, behind)
        settings.models[0].context = 2048
        with (
            gateway(settings) as at,
            openai.OpenAI(base_url=f"http://127.0.0.1:{at}/v1", api_key=TENANT_KEY, max_retries=0) as made,
        ):
            yield made


def test_whole_and_streamed_replies(client: Any) -> None:
    whole = client.chat.completions.create(**ASKED, temperature=0)
    assert whole.choices[0].message.content == "Mix flour, water and salt."
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + 9
    pieces = list(client.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True}))
    assert (
        "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        == whole.choices[0].message.content
    )
    assert len(pieces) > 5
    assert pieces[-1].usage == whole.usage
    assert len({piece.id for piece in pieces}) == 1


def test_tool_calls_whole_and_streamed_and_back_again(client: Any) -> None:
    whole = client.chat.completions.create(**ASKED, tools=TOOLS).choices[0]
    (called,) = whole.message.tool_calls
    assert (whole.finish_reason, called.function.name, called.function.arguments) == (
        "tool_calls",
        "oven",
        '{"degrees": 220}',
    )
    assert re.fullmatch("[A-Za-z0-9]{9}", called.id)
    talk = [*ASKED["messages"], whole.message, {"role": "tool", "tool_call_id": called.id, "content": "done"}]
    assert client.chat.completions.create(model=MODEL, messages=talk).choices[0].message.content
    with client.chat.completions.stream(**ASKED, tools=TOOLS) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.arguments == '{"degrees": 220}'


def test_models(client: Any) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL


def ask(client: Any, text: str, **fields: Any) -> Any:
    return client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}], **fields)


def test_errors_are_the_clients_own_exceptions_in_our_words(client: Any) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        ask(client, "Hi", extra_body={"chat_template": "x"})
    assert (bad.value.code, bad.value.param) == ("unknown_parameter", "chat_template")
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt", messages=ASKED["messages"])
    with pytest.raises(openai.AuthenticationError):
        ask(client.with_options(api_key="wk-x"), "Hi")
    with pytest.raises(openai.InternalServerError) as failed:
        ask(client, "fail")
    assert "CUDA" not in str(failed.value)
    with pytest.raises(openai.APIError) as broken:
        list(ask(client, "break", stream=True))
    assert "CUDA" not in str(broken.value)


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_of_length_counts_the_tenants_own_tokens(client: Any, stream: bool) -> None:
    form = template("smollm2")
    own = len(render_prompt(conversation("too long"), form))
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "too long", stream=stream)
    assert caught.value.code == "context_length_exceeded"
    assert f"Your request has {own} tokens" in str(caught.value)
    limit = int(re.search(r"length of (\d+) tokens", str(caught.value))[1])  # type: ignore[index]
    # The secret has 40 tokens, and a line break stands behind it: the next multiple of 64 below.
    assert limit == 1984


def test_whoever_tries_one_length_after_another_finds_the_same_bound(release: Path) -> None:
    own = len(render_prompt(conversation("Hi"), template("smollm2")))
    upstream = Scripted(friendly)
    with served(upstream) as behind:
        settings = configuration(release, behind)
        settings.models[0].context = 2048
        with (
            gateway(settings) as at,
            openai.OpenAI(base_url=f"http://127.0.0.1:{at}/v1", api_key=TENANT_KEY, max_retries=0) as client,
        ):
            least, beyond = 1, 4096
            while beyond - least > 1:
                tried = (least + beyond) // 2
                try:
                    ask(client, "Hi", max_tokens=tried)
                    least = tried
                except openai.BadRequestError as error:
                    assert "length of 1984 tokens" in str(error)
                    beyond = tried
            assert own + least == 1984
            # An answer that goes on and on ends there, too: its tokens would tell the same.
            ask(client, "Hi")
            ask(client, "Hi", stream=True).close()
            assert [body["max_tokens"] for body in upstream.bodies[-2:]] == [1984 - own] * 2


def test_a_request_too_long_for_the_engine_never_reaches_it(client: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "bread " * 3000)
    assert caught.value.code == "context_length_exceeded"
    assert ask(client, "bread " * 400).choices[0].message.content
