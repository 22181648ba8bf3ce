"""/v1/completions, for models that allow it: the prompt is one user message behind the secret, never a raw prompt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.gateway_parts import (
    MODEL,
    TENANT_KEY,
    Scripted,
    call,
    completion,
    configuration,
    friendly,
    gateway,
    respond,
    served,
)
from support.golden_families import template
from support.served_release import secret_of
from watchword.errors import CallError
from watchword.gateway.wire.completions.reading import read_completions

FORM = template("smollm2")


async def script(upstream: Scripted, body: dict[str, Any], send: Any) -> None:
    asked = body["messages"][-1]["content"]
    if asked == "too long":
        message = "This model's maximum context length is 2048 tokens. However, you requested 9999 tokens."
        await respond(send, json.dumps({"message": message}).encode(), 400)
    elif asked == "no":
        reply = completion("")
        reply["choices"][0]["message"] = {"role": "assistant", "content": None, "refusal": "I cannot."}
        await respond(send, json.dumps(reply).encode())
    else:
        await friendly(upstream, body, send)


@pytest.fixture(scope="module")
def upstream() -> Scripted:
    return Scripted(script)


@pytest.fixture(scope="module")
def client(release: Path, upstream: Scripted) -> Iterator[Any]:
    with served(upstream) as behind:
        settings = configuration(release, behind)
        settings.models[0].allow = ["completions"]
        with (
            gateway(settings) as at,
            openai.OpenAI(base_url=f"http://127.0.0.1:{at}/v1", api_key=TENANT_KEY, max_retries=0) as made,
        ):
            yield made


def test_a_prompt_is_asked_as_a_guarded_chat(client: Any, upstream: Scripted) -> None:
    found = client.completions.create(model=MODEL, prompt="Bread is", n=2, temperature=0.5, max_tokens=9, stop="END")
    assert [(choice.index, choice.text, choice.finish_reason) for choice in found.choices] == [
        (place, "Mix flour, water and salt.", "stop") for place in (0, 1)
    ]
    assert (found.object, found.model) == ("text_completion", MODEL)
    assert found.usage.completion_tokens == 9
    body = upstream.bodies[-1]
    assert body["messages"] == [
        {"role": "system", "content": f"{secret_of().reveal()}\n{FORM.default_system}"},
        {"role": "user", "content": "Bread is"},
    ]
    assert (body["n"], body["max_tokens"], body["stop"]) == (2, 9, "END")
    assert "prompt" not in body
    assert client.completions.create(model=MODEL, prompt=["Bread is"]).choices[0].text
    assert client.completions.create(model=MODEL, prompt="no").choices[0].text == "I cannot."


def test_a_stream_has_texts_of_each_answer(client: Any) -> None:
    pieces = list(
        client.completions.create(
            model=MODEL, prompt="Bread is", n=2, stream=True, stream_options={"include_usage": True}
        )
    )
    for place in (0, 1):
        choices = [choice for piece in pieces for choice in piece.choices if choice.index == place]
        assert "".join(choice.text for choice in choices) == "Mix flour, water and salt."
        assert choices[-1].finish_reason == "stop"
    assert pieces[-1].usage.completion_tokens == 9
    assert {piece.object for piece in pieces} == {"text_completion"}


def test_a_model_that_does_not_allow_it_says_where_it_is_asked(release: Path, upstream: Scripted) -> None:
    with served(upstream) as behind, gateway(configuration(release, behind)) as at:
        found = call(at, {"model": MODEL, "prompt": "Bread is"}, path="/v1/completions")
    assert (found.status, found.json["error"]["code"]) == (404, "unsupported_model")
    assert "/v1/chat/completions" in found.json["error"]["message"]


def test_errors_of_length_name_the_prompt(client: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=MODEL, prompt="too long")
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "prompt")


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"echo": True}, "unsupported_parameter", "echo"),
        ({"suffix": "x"}, "unsupported_parameter", "suffix"),
        ({"best_of": 2}, "unsupported_parameter", "best_of"),
        ({"logprobs": 0}, "unsupported_parameter", "logprobs"),
        ({"logit_bias": {"5": 1}}, "unsupported_parameter", "logit_bias"),
        ({"prompt": [1, 2]}, "invalid_value", "prompt"),
        ({"prompt": [[1, 2]]}, "invalid_value", "prompt"),
        ({"prompt": ["a", "b"]}, "invalid_value", "prompt"),
        ({"prompt": []}, "invalid_value", "prompt"),
        ({"prompt": None}, "invalid_value", "prompt"),
        ({"prompt_logprobs": 1}, "unknown_parameter", "prompt_logprobs"),
        ({"messages": []}, "unknown_parameter", "messages"),
    ],
)
def test_what_is_not_taken_is_named(fields: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(CallError) as caught:
        read(json.dumps({"model": MODEL, "prompt": "Hi", **fields}).encode())
    assert (caught.value.openai_code, caught.value.param) == (code, param)


def test_what_asks_for_nothing_special_is_taken() -> None:
    fields = {"echo": False, "suffix": None, "best_of": 1, "logprobs": None, "user": "ann"}
    assert read(json.dumps({"model": MODEL, "prompt": "Hi", **fields}).encode()).call.options == {}


@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_clean_error(data: bytes) -> None:
    with pytest.raises(CallError):
        read(data)


def read(data: bytes) -> Any:
    return read_completions(data, lambda _: ("completions",))
