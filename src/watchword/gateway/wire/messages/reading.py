"""A request in Anthropic's form → a chat. Tool results become messages of their own, in front of the text beside them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from watchword.chat.types import Conversation, FunctionCall, Message, Part, ToolCall
from watchword.gateway.call import PICTURE, ChatCall, Picture
from watchword.gateway.wire.decoding import decoded, invalid, no_json, unsupported
from watchword.gateway.wire.form import AllowedFor, Asked
from watchword.gateway.wire.messages.request import (
    AnyChoice,
    AssistantMessage,
    AutoChoice,
    Base64Source,
    ImageBlock,
    MessageJson,
    MessagesBody,
    TalkBody,
    TextBlock,
    Tool,
    ToolChoice,
    ToolResultBlock,
    UserMessage,
)
from watchword.gateway.wire.messages.writing import MessagesWriter
from watchword.gateway.wire.talk import check_order, check_pictures

_DECODER = msgspec.json.Decoder(MessagesBody)
_COUNTED = msgspec.json.Decoder(TalkBody)
# What is never taken, whatever its value, with the reason.
_REFUSED = {
    "top_k": "not every server takes it; use 'temperature' or 'top_p'",
    "container": "nothing is run here",
    "mcp_servers": "nothing is run here; offer your own 'tools'",
    "context_management": "messages are never cut here",
}


def read_messages(data: bytes, allowed_for: AllowedFor = lambda _: ()) -> Asked:
    """The request, and what writes the reply. Raises CallError with the field."""
    body = decoded(_DECODER, data)
    allowed = allowed_for(body.model)
    for name, why in _REFUSED.items():
        if getattr(body, name) is not None:
            raise unsupported(name, why)
    call = _call(body, allowed, _options(body), stream=bool(body.stream))
    return Asked(call, MessagesWriter(call))


def read_to_count(data: bytes, allowed_for: AllowedFor = lambda _: ()) -> Asked:
    """A request whose tokens are to be counted. Raises CallError with the field."""
    body = decoded(_COUNTED, data)
    call = _call(body, allowed_for(body.model), {}, stream=False)
    return Asked(call, MessagesWriter(call))


def _call(body: TalkBody, allowed: Collection[str], options: dict[str, Any], *, stream: bool) -> ChatCall:
    if body.thinking is not None and body.thinking.type != "disabled":
        raise unsupported("thinking", "how this model thinks cannot be set; send {'type': 'disabled'}")
    if body.output_config is not None and body.output_config.effort is not None:
        raise unsupported("output_config.effort", "how much this model thinks cannot be set")
    try:
        talk = _Talk(body)
        tools = tuple(map(_tool, body.tools or ()))
    except RecursionError:
        raise no_json() from None
    conv = Conversation(messages=tuple(talk.messages), tools=tools or None)
    check_order(conv, talk.places.__getitem__)
    check_pictures(talk.pictures, allowed)
    return ChatCall(model=body.model, conversation=conv, pictures=tuple(talk.pictures), options=options, stream=stream)


def _options(body: MessagesBody) -> dict[str, Any]:
    choice = body.tool_choice
    given = {
        "max_tokens": body.max_tokens,
        "stop": body.stop_sequences or None,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "tool_choice": _choice(body),
        "parallel_tool_calls": False if getattr(choice, "disable_parallel_tool_use", None) else None,
        "response_format": _format(body),
    }
    return {name: value for name, value in given.items() if value is not None}


def _choice(body: MessagesBody) -> str | dict[str, Any] | None:
    match body.tool_choice:
        case None:
            return None
        case AutoChoice():
            return "auto"
        case AnyChoice():
            return "required"
        case ToolChoice():
            return {"type": "function", "function": {"name": body.tool_choice.name}}
    return "none"


def _format(body: MessagesBody) -> dict[str, Any] | None:
    shape = None if body.output_config is None else body.output_config.format
    if shape is None:
        return None
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": shape.schema, "strict": True}}


def _tool(given: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": given.name, "description": given.description, "parameters": given.input_schema}
    if given.strict is not None:
        function["strict"] = given.strict
    return {"type": "function", "function": {name: value for name, value in function.items() if value is not None}}


class _Talk:
    """The messages of a request, each with the field that it came from."""

    def __init__(self, body: TalkBody) -> None:
        self.messages: list[Message] = []
        self.places: list[str] = []
        self.pictures: list[Picture] = []
        if body.system is not None:
            self._add(Message(role="system", content=self._content(body.system)), "system")
        for index, message in enumerate(body.messages):
            self._take(message, f"messages[{index}]")

    def _take(self, given: MessageJson, place: str) -> None:
        if isinstance(given.content, str):
            self._add(Message(role=_role(given), content=given.content), place)
            return
        match given:
            case UserMessage():
                self._take_user(given.content, place)
            case AssistantMessage():
                calls = tuple(
                    ToolCall(id=block.id, function=FunctionCall(block.name, msgspec.json.encode(block.input).decode()))
                    for block in given.content
                    if not isinstance(block, TextBlock)
                )
                said = [block for block in given.content if isinstance(block, TextBlock)]
                content = self._content(said) if said or not calls else None
                self._add(Message(role="assistant", content=content, tool_calls=calls or None), place)
            case _:
                self._add(Message(role=_role(given), content=self._content(given.content)), place)

    def _take_user(self, blocks: Sequence[TextBlock | ImageBlock | ToolResultBlock], place: str) -> None:
        results = [block for block in blocks if isinstance(block, ToolResultBlock)]
        rest = [block for block in blocks if not isinstance(block, ToolResultBlock)]
        if any(isinstance(block, ToolResultBlock) for block in blocks[len(results) :]):
            raise invalid("'tool_result' blocks must stand in front of all other blocks.", f"{place}.content")
        for block in results:
            content = "" if block.content is None else self._content(block.content)
            self._add(Message(role="tool", content=content, tool_call_id=block.tool_use_id), place)
        if rest or not results:
            self._add(Message(role="user", content=self._content(rest)), place)

    def _add(self, message: Message, place: str) -> None:
        self.messages.append(message)
        self.places.append(place)

    def _content(self, given: str | Sequence[TextBlock | ImageBlock]) -> str | tuple[Part, ...]:
        return given if isinstance(given, str) else tuple(map(self._part, given))

    def _part(self, given: TextBlock | ImageBlock) -> Part:
        if isinstance(given, TextBlock):
            return Part(type="text", text=given.text)
        source = given.source
        url = f"data:{source.media_type};base64,{source.data}" if isinstance(source, Base64Source) else source.url
        self.pictures.append(Picture(url))
        return Part(type=PICTURE, text=str(len(self.pictures) - 1))


def _role(given: MessageJson) -> str:
    return str(type(given).__struct_config__.tag)
