"""A request's bytes → our own types, or the error that names the field. Nothing that a tenant sends goes by unread."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, NoReturn

import msgspec

from watchword.chat.fault import shown
from watchword.chat.types import SYSTEM_ROLES, Conversation, FunctionCall, Message, Part, ToolCall
from watchword.errors import CallError
from watchword.gateway.call import PICTURE, ChatCall, Picture
from watchword.gateway.wire.request import (
    AssistantMessage,
    ChatBody,
    ImagePart,
    MessageJson,
    RefusalPart,
    TextPart,
    ToolMessage,
    UserMessage,
)

_DECODER = msgspec.json.Decoder(ChatBody)
_PLACE = re.compile(r"(?P<problem>.*?)(?: - at `\$\.?(?P<place>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<field>.*)`", re.DOTALL)
# Settings that the model's server gets under the same name.
_OPTIONS = (
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "temperature",
    "top_p",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
)


def read_call(data: bytes, allowed_for: Callable[[str], Collection[str]] = lambda _: ()) -> ChatCall:
    """The request. ``allowed_for`` names what the operator lets through for a model beyond the usual.

    These are ``logit_bias`` and ``remote_images``. Raises CallError with OpenAI's code and the field.
    """
    body = _decoded(data)
    allowed = allowed_for(body.model)
    _check_policy(body, allowed)
    try:
        conv, pictures = _conversation(body)
    except RecursionError:
        raise no_json() from None
    _check_order(conv)
    _check_pictures(pictures, allowed)
    return ChatCall(
        model=body.model,
        conversation=conv,
        pictures=pictures,
        options=_options(body),
        answers=body.n or 1,
        stream=bool(body.stream),
        include_usage=body.stream_options is not None and bool(body.stream_options.include_usage),
    )


def no_json() -> CallError:
    """What a tenant is told whose request cannot be read, or not be written again."""
    return CallError("The request's body is no JSON in UTF-8, or is nested too deeply.", openai_code="invalid_json")


def _decoded(data: bytes) -> ChatBody:
    try:
        return _DECODER.decode(data)
    except msgspec.ValidationError as error:
        _refuse(str(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise CallError(
            "the request's body is no JSON in UTF-8, or is nested too deeply", openai_code="invalid_json"
        ) from None


def _refuse(said: str) -> NoReturn:
    """Raises CallError for what msgspec found."""
    match = _PLACE.fullmatch(said)
    problem, place = (match["problem"], match["place"] or "") if match else (said, "")
    if unknown := _UNKNOWN.fullmatch(problem):
        param = ".".join(filter(None, [place, unknown["field"]]))[:200]
        raise CallError(f"Unknown parameter: {shown(param)}.", openai_code="unknown_parameter", param=param) from None
    if missing := _MISSING.fullmatch(problem):
        param = ".".join(filter(None, [place, missing["field"]]))
        raise CallError(
            f"Missing required parameter: {param!r}.", openai_code="missing_required_parameter", param=param
        ) from None
    where = f" for {place!r}" if place else ""
    raise CallError(
        f"Invalid value{where}: {problem[:200]}.", openai_code="invalid_value", param=place or None
    ) from None


def _check_policy(body: ChatBody, allowed: Collection[str]) -> None:
    if body.logprobs or body.top_logprobs:
        _unsupported("logprobs" if body.logprobs else "top_logprobs", "this model gives no log probabilities")
    if body.logit_bias and "logit_bias" not in allowed:
        _unsupported("logit_bias", "this model takes no logit bias")
    if body.store:
        _unsupported("store", "replies are not stored here")
    if body.stream_options is not None and not body.stream:
        raise CallError(
            "'stream_options' is for 'stream': true only.", openai_code="invalid_value", param="stream_options"
        )
    if None not in (body.max_tokens, body.max_completion_tokens) and body.max_tokens != body.max_completion_tokens:
        raise CallError(
            "'max_tokens' and 'max_completion_tokens' differ; give one of them.",
            openai_code="invalid_value",
            param="max_tokens",
        )


def _unsupported(param: str, why: str) -> NoReturn:
    raise CallError(f"Unsupported parameter: {param!r}: {why}.", openai_code="unsupported_parameter", param=param)


def _check_order(conv: Conversation) -> None:
    """Raises CallError for what has no place behind a secret: late system messages, and answers to be gone on with."""
    for index, message in enumerate(conv.messages[1:], start=1):
        if message.role in SYSTEM_ROLES:
            raise CallError(
                f"A {message.role} message must be the first message; merge its text into that one.",
                openai_code="invalid_value",
                param=f"messages[{index}].role",
            )
    if conv.messages[-1].role == "assistant":
        raise CallError(
            "The last message is the assistant's own: an answer is not continued here. Put a user or tool message last.",
            openai_code="invalid_value",
            param=f"messages[{len(conv.messages) - 1}].role",
        )


def _check_pictures(pictures: tuple[Picture, ...], allowed: Collection[str]) -> None:
    for picture in pictures:
        remote = picture.url.startswith(("https://", "http://")) and "remote_images" in allowed
        if not (remote or picture.url.startswith("data:image/")):
            raise CallError(
                "An image must be given as a data URL (data:image/png;base64,...).",
                openai_code="invalid_value",
                param="messages",
            )


def _options(body: ChatBody) -> dict[str, Any]:
    given = {name: getattr(body, name) for name in _OPTIONS}
    # The older name, which every server knows.
    given["max_tokens"] = body.max_completion_tokens or body.max_tokens
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
