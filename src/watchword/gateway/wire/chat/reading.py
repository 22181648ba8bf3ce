"""A request's bytes → our own types, or the error that names the field. Nothing that a tenant sends goes by unread."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from watchword.chat.types import Conversation, FunctionCall, Message, Part, ToolCall
from watchword.gateway.call import PICTURE, ChatCall, Picture
from watchword.gateway.wire.chat.request import (
    AssistantMessage,
    ChatBody,
    ImagePart,
    MessageJson,
    RefusalPart,
    SharedBody,
    TextPart,
    ToolMessage,
    UserMessage,
)
from watchword.gateway.wire.chat.writing import ChatWriter
from watchword.gateway.wire.decoding import decoded, invalid, no_json, unsupported
from watchword.gateway.wire.form import AllowedFor, Asked
from watchword.gateway.wire.talk import check_order, check_pictures

_DECODER = msgspec.json.Decoder(ChatBody)
# Settings that the model's server gets under the same name.
_SHARED = ("temperature", "top_p", "stop", "seed", "presence_penalty", "frequency_penalty", "logit_bias", "max_tokens")
_OPTIONS = (*_SHARED, "tool_choice", "parallel_tool_calls", "response_format")


def read_chat(data: bytes, allowed_for: AllowedFor = lambda _: ()) -> Asked:
    """The request, and what writes the reply. Raises CallError with OpenAI's code and the field."""
    call = read_call(data, allowed_for)
    return Asked(call, ChatWriter(call))


def read_call(data: bytes, allowed_for: AllowedFor = lambda _: ()) -> ChatCall:
    """The request. Raises CallError with OpenAI's code and the field."""
    body = decoded(_DECODER, data)
    allowed = allowed_for(body.model)
    _check_policy(body, allowed)
    try:
        conv, pictures = _conversation(body)
    except RecursionError:
        raise no_json() from None
    check_order(conv, "messages[{}]".format)
    check_pictures(pictures, allowed)
    return ChatCall(
        model=body.model,
        conversation=conv,
        pictures=pictures,
        options=_options(body),
        answers=body.n or 1,
        stream=bool(body.stream),
        include_usage=body.stream_options is not None and bool(body.stream_options.include_usage),
        alternatives=(body.top_logprobs or 0) if body.logprobs else None,
    )


def _check_policy(body: ChatBody, allowed: Collection[str]) -> None:
    if (body.logprobs or body.top_logprobs) and "logprobs" not in allowed:
        raise unsupported("logprobs" if body.logprobs else "top_logprobs", "this model gives no log probabilities")
    if body.top_logprobs and not body.logprobs:
        raise invalid("'top_logprobs' is for 'logprobs': true only.", "top_logprobs")
    check_shared(body, allowed)
    if body.store:
        raise unsupported("store", "replies are not stored here")
    if None not in (body.max_tokens, body.max_completion_tokens) and body.max_tokens != body.max_completion_tokens:
        raise invalid("'max_tokens' and 'max_completion_tokens' differ; give one of them.", "max_tokens")


def check_shared(body: SharedBody, allowed: Collection[str]) -> None:
    """Raises CallError for what OpenAI's two older forms share and a model does not take."""
    if body.logit_bias and "logit_bias" not in allowed:
        raise unsupported("logit_bias", "this model takes no logit bias")
    if body.stream_options is not None and not body.stream:
        raise invalid("'stream_options' is for 'stream': true only.", "stream_options")


def shared_options(body: SharedBody) -> dict[str, Any]:
    """The settings of either form for the model's server."""
    return _given(body, _SHARED)


def _options(body: ChatBody) -> dict[str, Any]:
    given = _given(body, _OPTIONS)
    # Under the older name, which every server knows.
    return given if body.max_completion_tokens is None else {**given, "max_tokens": body.max_completion_tokens}


def _given(body: SharedBody, names: Sequence[str]) -> dict[str, Any]:
    given = {name: getattr(body, name) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def _conversation(body: ChatBody) -> tuple[Conversation, tuple[Picture, ...]]:
    pictures: list[Picture] = []
    messages = tuple(_message(message, pictures) for message in body.messages)
    tools = tuple(msgspec.to_builtins(tool) for tool in body.tools or ())
    return Conversation(messages=messages, tools=tools or None), tuple(pictures)


def _message(given: MessageJson, pictures: list[Picture]) -> Message:
    role = str(type(given).__struct_config__.tag)
    content = _content(given.content, pictures)
    match given:
        case UserMessage():
            return Message(role=role, content=content, name=given.name)
        case AssistantMessage():
            said = given.refusal if content is None else content
            return Message(role=role, content=said, name=given.name, tool_calls=_calls(given))
        case ToolMessage():
            return Message(role=role, content=content, name=given.name, tool_call_id=given.tool_call_id)
    return Message(role=role, content=content)


def _calls(given: AssistantMessage) -> tuple[ToolCall, ...] | None:
    calls = (
        ToolCall(id=call.id, function=FunctionCall(call.function.name, call.function.arguments))
        for call in given.tool_calls or ()
    )
    return tuple(calls) or None


def _content(
    given: str | list[TextPart] | list[TextPart | ImagePart] | list[TextPart | RefusalPart] | None,
    pictures: list[Picture],
) -> str | tuple[Part, ...] | None:
    return given if given is None or isinstance(given, str) else tuple(_part(part, pictures) for part in given)


def _part(given: TextPart | ImagePart | RefusalPart, pictures: list[Picture]) -> Part:
    if isinstance(given, ImagePart):
        pictures.append(Picture(given.image_url.url, given.image_url.detail))
        return Part(type=PICTURE, text=str(len(pictures) - 1))
    return Part(type="text", text=given.text if isinstance(given, TextPart) else given.refusal)
