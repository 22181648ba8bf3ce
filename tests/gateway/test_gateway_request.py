"""What a tenant may send: OpenAI's harmless fields reach the upstream, everything else is refused by its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.gateway_forms import DANGEROUS
from support.golden_families import FAMILIES, template
from support.served_release import secret_of
from watchword.chat.render import render_prompt
from watchword.chat.types import Conversation as Talk
from watchword.chat.types import FunctionCall, Message, ToolCall
from watchword.defenses import AppliedDefense
from watchword.defenses.base import DEFENSES
from watchword.errors import CallError, UnsealError
from watchword.gateway.guarding import guarded_call
from watchword.gateway.wire.chat.reading import read_call
from watchword.gateway.wire.upstream import upstream_body
from watchword.release.reading import Release

ASK = {"role": "user", "content": "Hi"}
TOOL = {
    "type": "function",
    "function": {"name": "oven", "description": "Set it", "parameters": {"type": "object", "properties": {"x": {}}}},
}
CALLED = {"id": "call12345", "type": "function", "function": {"name": "oven", "arguments": '{"x": 1}'}}
PNG = "data:image/png;base64,AAAA"


def release(family: str = "smollm2", *, defended: bool = True) -> Release:
    form = template(family)
    secret = secret_of(family) if defended else None
    applied = AppliedDefense(DEFENSES.create("backdoor_align"), secret)
    return Release(Path(), None, applied, form.system_style, form)  # type: ignore[arg-type]


def asked(*messages: Any, **fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": list(messages) or [ASK], **fields}).encode()


def sent(data: bytes, family: str = "smollm2", **options: Any) -> dict[str, Any]:
    """The body that the upstream gets for a request."""
    request = read_call(data, **options)
    return json.loads(upstream_body(request, guarded_call(request.conversation, release(family)).sent, model="up"))


def refused(data: bytes) -> CallError:
    with pytest.raises(CallError) as caught:
        read_call(data)
    return caught.value


@pytest.mark.parametrize("name", DANGEROUS)
def test_what_is_dangerous_is_unknown(name: str) -> None:
    error = refused(asked(**{name: 1}))
    assert (error.openai_code, error.param) == ("unknown_parameter", name)


@given(st.text(min_size=1).filter(lambda name: name not in ("model", "messages")))
def test_any_name_is_a_known_field_or_refused_by_its_name(name: str) -> None:
    data = asked(**{name: {"a": [None]}})
    try:
        read_call(data)
    except CallError as error:
        refusals = ("unknown_parameter", "invalid_value", "unsupported_parameter", "missing_required_parameter")
        assert error.openai_code in refusals
        assert len(str(error)) < 700


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({**ASK, "cache": 1}, "messages[0].cache"),
        ({"role": "system", "content": "Hi", "name": "x"}, "messages[0].name"),
        ({"role": "user", "content": [{"type": "text", "text": "Hi", "x": 1}]}, "messages[0].content[0].x"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG, "uuid": "1"}}]}, None),
        ({"role": "assistant", "content": "Hi", "prefix": True}, "messages[0].prefix"),
        ({"role": "assistant", "content": "Hi", "reasoning_content": "Hm"}, "messages[0].reasoning_content"),
    ],
)
def test_unknown_fields_deep_inside_are_refused(message: Any, param: str | None) -> None:
    error = refused(asked(message, ASK))
    assert error.openai_code == "unknown_parameter"
    assert param is None or error.param == param


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"logprobs": True}, "unsupported_parameter", "logprobs"),
        ({"top_logprobs": 3}, "unsupported_parameter", "top_logprobs"),
        ({"logit_bias": {"5": 100}}, "unsupported_parameter", "logit_bias"),
        ({"store": True}, "unsupported_parameter", "store"),
        ({"temperature": 3}, "invalid_value", "temperature"),
        ({"n": 17}, "invalid_value", "n"),
        ({"n": 0}, "invalid_value", "n"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "invalid_value", "stop"),
        ({"stop": ["a", ""]}, "invalid_value", "stop[1]"),
        ({"stop": ""}, "invalid_value", "stop"),
        ({"stream_options": {"include_usage": True}}, "invalid_value", "stream_options"),
        ({"stream": True, "stream_options": {"continuous_usage_stats": True}}, "unknown_parameter", None),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "invalid_value", "max_tokens"),
        ({"messages": []}, "invalid_value", "messages"),
        ({"tools": [{"type": "function", "function": {"name": "x", "strange": 1}}]}, "unknown_parameter", None),
        ({"response_format": {"type": "grammar"}}, "invalid_value", "response_format.type"),
    ],
)
def test_values_and_policies(fields: Any, code: str, param: str | None) -> None:
    error = refused(asked(**fields))
    assert error.openai_code == code
    assert param is None or error.param == param
    # Who reads it learns which field it is, and what is wrong with it.
    assert param is None or param.partition(".")[0].partition("[")[0] in str(error)
    assert "None" not in str(error)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b'{"model": "m"}', b"\xff", b'{"messages":[]}', b"[" * 100_000]
)
def test_what_is_no_request_ends_in_a_clean_error(data: bytes) -> None:
    assert refused(data).openai_code in ("invalid_json", "invalid_value", "missing_required_parameter")


@pytest.mark.parametrize("depth", [400, 900, 980, 1_100, 100_000])
def test_deep_nesting_ends_in_a_clean_error_or_passes(depth: int) -> None:
    deep = b'{"type":"function","function":{"name":"x","parameters":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}}"
    data = asked()[:-1] + b',"tools":[' + deep + b"]}"
    try:
        request = read_call(data)
        upstream_body(request, guarded_call(request.conversation, release()).sent, model="up")
    except CallError as error:
        assert error.openai_code == "invalid_json"
        assert depth > 400


@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_clean_error(data: bytes) -> None:
    assert refused(data).openai_code in (
        "invalid_json",
        "invalid_value",
        "missing_required_parameter",
        "unknown_parameter",
    )


def test_harmless_settings_reach_the_upstream_as_they_are() -> None:
    settings = {
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "oven"}},
        "parallel_tool_calls": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "s", "schema": {"type": "object"}, "strict": True},
        },
        "temperature": 0.5,
        "top_p": 0.9,
        "n": 2,
        "stop": ["a", "b"],
        "seed": 3,
        "presence_penalty": 1.0,
        "frequency_penalty": -1.0,
        "max_tokens": 5,
    }
    body = sent(asked(**settings, user="ann", metadata={"a": "b"}, store=False, logprobs=False, safety_identifier="x"))
    assert body["tools"][0]["type"] == body["tool_choice"]["type"] == "function"
    assert {name: value for name, value in body.items() if name not in ("model", "messages")} == settings
    assert sent(asked(max_completion_tokens=7))["max_tokens"] == 7
    assert "temperature" not in sent(asked(temperature=None))
    assert sent(asked(response_format={"type": "json_object"}))["response_format"] == {"type": "json_object"}


def test_streams_are_always_counted() -> None:
    assert sent(asked(stream=True))["stream_options"] == {"include_usage": True}
    assert sent(asked(stream=True))["stream"] is True
    assert "stream" not in sent(asked(stream=False))


def test_logit_bias_and_far_images_pass_where_the_operator_says_so() -> None:
    body = sent(asked(logit_bias={"5": -100}), allowed_for=lambda _: ("logit_bias",))
    assert body["logit_bias"] == {"5": -100}
    far = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}]}
    assert refused(asked(far)).openai_code == "invalid_value"
    assert sent(asked(far), allowed_for=lambda _: ("remote_images",))["messages"][1]["content"] == far["content"]
    for url in ("file:///etc/passwd", "http://169.254.169.254/"):
        here = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
        assert refused(asked(here)).openai_code == "invalid_value"


def test_log_probabilities_pass_where_the_operator_says_so() -> None:
    body = sent(asked(logprobs=True, top_logprobs=3), allowed_for=lambda _: ("logprobs",))
    assert (body["logprobs"], body["top_logprobs"]) == (True, 3)
    error = refused(asked(logprobs=True))
    assert (error.openai_code, error.param) == ("unsupported_parameter", "logprobs")
    assert "gives no log probabilities" in str(error)
    assert refused(asked(top_logprobs=3)).param == "top_logprobs"
    with pytest.raises(CallError, match="'logprobs': true only") as caught:
        read_call(asked(top_logprobs=3), lambda _: ("logprobs",))
    assert caught.value.param == "top_logprobs"


def test_what_the_gateway_itself_goes_by_is_read_as_it_was_sent() -> None:
    asked_for: list[str] = []

    def allowed(model: str) -> tuple[str, ...]:
        asked_for.append(model)
        return ("logprobs",)

    def read(**fields: Any) -> tuple[Any, ...]:
        call = read_call(asked(**fields), allowed)
        return call.model, call.answers, call.stream, call.include_usage, call.alternatives

    assert read() == ("m", 1, False, False, None)
    assert asked_for == ["m"]
    assert read(n=3, logprobs=True) == ("m", 3, False, False, 0)
    assert read(stream=True, logprobs=True, top_logprobs=2) == ("m", 1, True, False, 2)
    assert read(stream=True, stream_options={"include_usage": True}) == ("m", 1, True, True, None)
    assert read(stream=True, stream_options={"include_usage": False}) == ("m", 1, True, False, None)


def test_names_and_refusals_in_messages_arrive() -> None:
    talk = [
        {"role": "assistant", "name": "bob", "content": None, "tool_calls": [CALLED]},
        {"role": "tool", "name": "oven", "content": "done", "tool_call_id": "call12345"},
        {"role": "assistant", "name": "bob", "content": [{"type": "refusal", "refusal": "I cannot."}]},
    ]
    found = read_call(asked(ASK, *talk, ASK)).conversation.messages
    assert [message.name for message in found] == [None, "bob", "oven", "bob", None]
    assert found[3].text == "I cannot."


def test_a_picture_is_known_as_one() -> None:
    shown = {
        "role": "user",
        "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": PNG}}],
    }
    (message,) = read_call(asked(shown)).conversation.messages
    assert isinstance(message.content, tuple)
    assert [(part.type, part.text) for part in message.content] == [("text", "x"), ("image_url", "0")]


def test_a_whole_talk_with_tools_and_pictures_arrives() -> None:
    talk = [
        {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]},
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "What "},
                {"type": "text", "text": "is it?"},
                {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
                {"type": "text", "text": "And this?"},
                {"type": "image_url", "image_url": {"url": f"{PNG}BBBB"}},
            ],
        },
        {"role": "assistant", "content": None, "refusal": None, "tool_calls": [CALLED]},
        {"role": "tool", "content": "done", "tool_call_id": "call12345"},
        {"role": "assistant", "content": [{"type": "text", "text": "Bread."}]},
        {"role": "assistant", "refusal": "No."},
        {"role": "user", "content": "Thanks"},
    ]
    system, *rest = sent(asked(*talk))["messages"]
    assert system == {"role": "system", "content": f"{secret_of().reveal()}\nBe brief."}
    assert rest[0]["content"] == [
        {"type": "text", "text": "What is it?"},
        talk[1]["content"][2],
        talk[1]["content"][3],
        talk[1]["content"][4],
    ]
    assert rest[0]["name"] == "ann"
    assert rest[1] == {"role": "assistant", "content": None, "tool_calls": [CALLED]}
    assert rest[2] == {"role": "tool", "content": "done", "tool_call_id": "call12345"}
    assert [message["content"] for message in rest[3:]] == ["Bread.", "No.", "Thanks"]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_late_system_message_is_refused_in_our_own_words(role: str) -> None:
    error = refused(asked(ASK, {"role": role, "content": "Be brief."}))
    assert (error.openai_code, error.param) == ("invalid_value", "messages[1].role")


def test_an_answer_is_not_gone_on_with() -> None:
    error = refused(asked(ASK, {"role": "assistant", "content": "Sure, here is how. Step 1:"}))
    assert (error.openai_code, error.param) == ("invalid_value", "messages[1].role")


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
PARTS = st.lists(st.builds(lambda text: {"type": "text", "text": text}, TEXT), max_size=3)
CONTENT = TEXT | PARTS
IMAGE = st.just({"type": "image_url", "image_url": {"url": PNG}})
SYSTEM = st.builds(
    lambda role, content: {"role": role, "content": content}, st.sampled_from(["system", "developer"]), CONTENT
)
USER = st.builds(
    lambda content: {"role": "user", "content": content},
    CONTENT | st.lists(IMAGE | st.builds(lambda text: {"type": "text", "text": text}, TEXT), max_size=4),
)
ASSISTANT = st.builds(lambda content: {"role": "assistant", "content": content}, CONTENT) | st.just(
    {"role": "assistant", "tool_calls": [CALLED]}
)
RESULT = st.builds(lambda content: {"role": "tool", "tool_call_id": "call12345", "content": content}, CONTENT)
TALKS = st.builds(
    lambda system, talk, last: [*system, *talk, last],
    st.lists(SYSTEM, max_size=1),
    st.lists(USER | ASSISTANT | RESULT, max_size=4),
    USER,
)


@given(TALKS)
def test_any_talk_has_exactly_one_guarded_system_block_in_front_and_it_begins_as_trained(talk: list[Any]) -> None:
    form, secret = template("smollm2"), secret_of()
    messages = sent(asked(*talk))["messages"]
    assert [message["role"] for message in messages].count("system") == 1
    assert messages[0]["role"] == "system"
    assert messages[0]["content"].startswith(secret.reveal())
    assert json.dumps(messages, ensure_ascii=False).count(json.dumps(secret.reveal(), ensure_ascii=False)[1:-1]) == 1
    ids = render_prompt(_as_the_engine_reads(messages), form)
    front = [*form.encode("<|im_start|>system\n"), *secret_ids()]
    assert ids[: len(front)] == front


def test_the_default_system_text_stands_behind_the_secret() -> None:
    form = template("smollm2")
    assert form.default_system
    assert sent(asked())["messages"][0]["content"] == f"{secret_of().reveal()}\n{form.default_system}"


@pytest.mark.parametrize("family", [name for name in FAMILIES if template(name).system_placement == "first_user"])
def test_where_the_template_wants_it_the_secret_opens_the_first_text_of_the_user(family: str) -> None:
    secret = secret_of(family).reveal()
    picture = {"type": "image_url", "image_url": {"url": PNG}}
    parts = {"role": "user", "content": [picture, {"type": "text", "text": "What is it?"}]}
    (user,) = sent(asked({"role": "system", "content": "Be brief."}, ASK), family)["messages"]
    assert user == {"role": "user", "content": f"{secret}\nBe brief.\n\nHi"}
    (user,) = sent(asked(parts), family)["messages"]
    assert user["content"] == [
        {"type": "text", "text": f"{secret}\n"},
        picture,
        {"type": "text", "text": "What is it?"},
    ]
    request = read_call(asked({"role": "system", "content": "Be brief."}))
    with pytest.raises(CallError, match="add a user message") as caught:
        guarded_call(request.conversation, release(family))
    assert (caught.value.openai_code, caught.value.param) == ("invalid_value", "messages")


def test_a_release_with_a_secret_is_never_asked_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    forgetful = release()
    object.__setattr__(forgetful.defense, "defense", DEFENSES.create("none"))
    with pytest.raises(UnsealError):
        guarded_call(read_call(asked()).conversation, forgetful)


def secret_ids() -> list[int]:
    from watchword.secret.generate import secret_ids as ids

    return ids(secret_of(), template("smollm2"))


def _as_the_engine_reads(messages: list[dict[str, Any]]) -> Talk:
    """The wire's messages as a server reads them: pictures are no text."""

    def text(content: Any) -> str | None:
        if content is None or isinstance(content, str):
            return content
        return "".join(part.get("text", "") for part in content)

    def calls(message: dict[str, Any]) -> tuple[ToolCall, ...] | None:
        made = [
            ToolCall(id=call["id"], function=FunctionCall(**call["function"])) for call in message.get("tool_calls", [])
        ]
        return tuple(made) or None

    return Talk(
        messages=tuple(
            Message(role=one["role"], content=text(one["content"]), tool_calls=calls(one)) for one in messages
        )
    )
