"""A request for a response → a chat. ``instructions`` become the system text, and items become messages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from watchword.chat.types import Conversation, FunctionCall, Message, Part, ToolCall
from watchword.gateway.call import PICTURE, ChatCall, Picture
from watchword.gateway.wire.decoding import decoded, invalid, no_json, unsupported
from watchword.gateway.wire.form import AllowedFor, Asked
from watchword.gateway.wire.responses.request import (
    AssistantItem,
    CallItem,
    ChosenFunction,
    FunctionTool,
    InputImage,
    InputText,
    Item,
    KindOfItem,
    OutputRefusal,
    OutputText,
    PlainFormat,
    ResponsesBody,
    ResultItem,
    SchemaFormat,
    SystemItem,
    UserItem,
)
from watchword.gateway.wire.responses.writing import ResponsesWriter
from watchword.gateway.wire.talk import check_order, check_pictures

_DECODER = msgspec.json.Decoder(ResponsesBody)
_KIND = msgspec.json.Decoder(KindOfItem)
_ITEMS: dict[str, msgspec.json.Decoder[Any]] = {
    "system": msgspec.json.Decoder(SystemItem),
    "developer": msgspec.json.Decoder(SystemItem),
    "user": msgspec.json.Decoder(UserItem),
    "assistant": msgspec.json.Decoder(AssistantItem),
    "function_call": msgspec.json.Decoder(CallItem),
    "function_call_output": msgspec.json.Decoder(ResultItem),
}
_ROLES = ("system", "developer", "user", "assistant")
# What is never taken, whatever its value, with the reason.
_REFUSED = {
    "conversation": "conversations are not stored here; send all items",
    "previous_response_id": "responses are not stored here; send all items",
    "prompt": "prompts are not stored here; send their text",
    "reasoning": "how this model thinks cannot be set",
    "max_tool_calls": "this model has no tools that run here",
    "top_logprobs": "log probabilities are for /v1/chat/completions",
    "stream_options": "a stream has no options here",
    "service_tier": "there is one kind of service only",
}


def read_responses(data: bytes, allowed_for: AllowedFor = lambda _: ()) -> Asked:
    """The request, and what writes the reply. Raises CallError with OpenAI's code and the field."""
    body = decoded(_DECODER, data)
    allowed = allowed_for(body.model)
    _check_policy(body)
    try:
        call = _call(body, allowed)
    except RecursionError:
        raise no_json() from None
    return Asked(call, ResponsesWriter(body))


def _check_policy(body: ResponsesBody) -> None:
    for name, why in _REFUSED.items():
        if getattr(body, name) is not None:
            raise unsupported(name, why)
    if body.store:
        raise unsupported("store", "responses are not stored here; send 'store': false")
    if body.background:
        raise unsupported("background", "a response is waited for here")
    if body.truncation == "auto":
        raise unsupported("truncation", "input is never cut here")
    if body.include:
        raise unsupported("include", "nothing is added to a response here")


def _call(body: ResponsesBody, allowed: Collection[str]) -> ChatCall:
    talk = _Talk(body)
    tools = tuple(_tool(tool) for tool in body.tools or ())
    conv = Conversation(messages=tuple(talk.messages), tools=tools or None)
    check_order(conv, talk.places.__getitem__)
    check_pictures(talk.pictures, allowed, "input")
    return ChatCall(
        model=body.model,
        conversation=conv,
        pictures=tuple(talk.pictures),
        options=_options(body),
        stream=bool(body.stream),
    )


def _options(body: ResponsesBody) -> dict[str, Any]:
    given = {
        "tool_choice": _choice(body.tool_choice),
        "parallel_tool_calls": body.parallel_tool_calls,
        "response_format": _format(body),
        "temperature": body.temperature,
        "top_p": body.top_p,
        "max_tokens": body.max_output_tokens,
    }
    return {name: value for name, value in given.items() if value is not None}


def _choice(given: str | ChosenFunction | None) -> str | dict[str, Any] | None:
    if isinstance(given, ChosenFunction):
        return {"type": "function", "function": {"name": given.name}}
    return given


def _format(body: ResponsesBody) -> dict[str, Any] | None:
    given = body.text.format if body.text is not None else None
    if given is None or isinstance(given, PlainFormat):
        return None
    if not isinstance(given, SchemaFormat):
        return {"type": "json_object"}
    schema = {name: value for name, value in msgspec.to_builtins(given).items() if name != "type"}
    return {"type": "json_schema", "json_schema": schema}


def _tool(given: FunctionTool) -> dict[str, Any]:
    function = {name: value for name, value in msgspec.to_builtins(given).items() if name != "type"}
    return {"type": "function", "function": function}


class _Talk:
    """The messages that the items make, each with the field that it came from."""

    def __init__(self, body: ResponsesBody) -> None:
        self.messages: list[Message] = []
        self.places: list[str] = []
        self.pictures: list[Picture] = []
        if body.instructions is not None:
            self._add(Message(role="system", content=body.instructions), "instructions")
        if isinstance(body.input, str):
            self._add(Message(role="user", content=body.input), "input")
            return
        for index, raw in enumerate(body.input):
            place = f"input[{index}]"
            self._take(_item(raw, place), place)

    def _take(self, item: Item, place: str) -> None:
        match item:
            case CallItem():
                self._take_call(item, place)
            case ResultItem():
                self._add(Message(role="tool", content=self._content(item.output), tool_call_id=item.call_id), place)
            case _:
                self._add(Message(role=item.role, content=self._content(item.content)), place)

    def _take_call(self, item: CallItem, place: str) -> None:
        """Calls stand in the message of the assistant that they follow, as a chat has it."""
        call = ToolCall(id=item.call_id, function=FunctionCall(item.name, item.arguments))
        last = self.messages[-1] if self.messages else None
        if last is None or last.role != "assistant":
            self._add(Message(role="assistant", tool_calls=(call,)), place)
        else:
            self.messages[-1] = msgspec.structs.replace(last, tool_calls=(*(last.tool_calls or ()), call))

    def _add(self, message: Message, place: str) -> None:
        self.messages.append(message)
        self.places.append(place)

    def _content(
        self, given: str | Sequence[InputText | InputImage | OutputText | OutputRefusal]
    ) -> str | tuple[Part, ...]:
        return given if isinstance(given, str) else tuple(map(self._part, given))

    def _part(self, given: InputText | InputImage | OutputText | OutputRefusal) -> Part:
        if isinstance(given, InputImage):
            self.pictures.append(Picture(given.image_url, given.detail))
            return Part(type=PICTURE, text=str(len(self.pictures) - 1))
        return Part(type="text", text=given.refusal if isinstance(given, OutputRefusal) else given.text)


def _item(raw: msgspec.Raw, place: str) -> Item:
    kind = decoded(_KIND, raw, place)
    name = kind.role if kind.type == "message" else kind.type
    known = name in _ITEMS and (name in _ROLES) == (kind.type == "message")
    if not known:
        if kind.type == "message":
            raise invalid(f"Invalid value for '{place}.role': choose one of {', '.join(_ROLES)}.", f"{place}.role")
        raise invalid(
            f"Items of this type are not taken in '{place}': send messages, function_call and function_call_output.",
            f"{place}.type",
        )
    item: Item = decoded(_ITEMS[name], raw, place)
    return item
