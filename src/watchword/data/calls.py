"""The rules of tool calls: each is answered before the next turn, each answer has its call, arguments are a JSON object."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from watchword.chat.fault import Fault, shown
from watchword.chat.types import Message, ToolCall
from watchword.data.duplicates import keys_twice

_ARGUMENTS = msgspec.json.Decoder(dict[str, msgspec.Raw])
# How models write calls into their text: Hermes and Qwen, Llama, glaive, ToolACE, ReAct.
_IN_TEXT = re.compile(
    r"<tool_?call|<function|<\|python_tag\|>|^\s*\[\s*[\w.]+[\w .]*\(|^\s*\{\s*\"name\"|^Action:", re.MULTILINE
)


def made_in_text(message: Message, before: Message | None) -> bool:
    """Whether a tool message without an id answers a call that the turn before writes as text; data sets have such rows."""
    if message.role != "tool" or message.tool_call_id is not None or before is None:
        return False
    if before.role == "tool":
        return before.tool_call_id is None
    return before.role == "assistant" and not before.tool_calls and bool(_IN_TEXT.search(before.text))


class Calls:
    """The calls of one conversation, message by message."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        # Of the latest turn that calls: id → (field, function's name) of what nobody has answered yet.
        self._open: dict[str, tuple[str, str]] = {}

    def faults(self, message: Message, field: str, before: Message | None) -> Iterator[Fault]:
        """The faults of the next message. A row may end with calls that nobody answers: they are what is learned."""
        if message.role == "tool":
            yield from self._answer(message, field, before)
            return
        yield from self._unanswered(message)
        for index, call in enumerate(message.tool_calls or ()):
            yield from self._call(call, f"{field}.tool_calls[{index}]")

    def _unanswered(self, message: Message) -> Iterator[Fault]:
        for name, (field, function) in self._open.items():
            problem = (
                f"the call {shown(name)} of {shown(function)} has no answer before the next {message.role} message"
            )
            yield Fault(problem, "add the tool message that answers it, or remove the call", field)
        self._open.clear()

    def _call(self, call: ToolCall, field: str) -> Iterator[Fault]:
        if call.id in self._open:
            yield Fault(f"two calls of one turn have the id {shown(call.id)}", "give each its own", f"{field}.id")
        self._open[call.id] = field, call.function.name
        self._seen.add(call.id)
        place = f"{field}.function.arguments"
        try:
            _ARGUMENTS.decode(call.function.arguments)
            twice = keys_twice(call.function.arguments)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            problem = f"the arguments {shown(call.function.arguments)} are no JSON object"
            yield Fault(problem, "write them as JSON, such as '{\"city\": \"Rome\"}' or '{}'", place)
        else:
            for key in twice:
                yield Fault(f"the key {shown(key)} stands twice in the arguments", "keep one of the two", place)

    def _answer(self, message: Message, field: str, before: Message | None) -> Iterator[Fault]:
        name = message.tool_call_id
        if name is None:
            if not made_in_text(message, before):
                fix = "name the call that it answers"
                yield Fault("the tool message has no tool_call_id", fix, f"{field}.tool_call_id")
        elif name in self._open:
            del self._open[name]
        elif name in self._seen:
            fix = "keep one answer for each call, directly behind it"
            yield Fault(f"the call {shown(name)} has its answer already", fix, f"{field}.tool_call_id")
        else:
            known = (
                f"use one of {', '.join(sorted(self._seen))}"
                if self._seen
                else "add the assistant message that makes the call"
            )
            yield Fault(f"no earlier call has the id {shown(name)}", known, f"{field}.tool_call_id")
