"""The content rule: what a row says must stand in the text that the model reads.

A template that writes no tool calls would train a row's end of turn and nothing else. So after rendering, every
trained answer, every call's name and arguments, and every tool is looked for; what is missing is an error. Text beside a
call, thoughts, and details of a tool's schema may be dropped by design: these are counted, never passed over in silence.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from watchword.chat.fault import counted, shown
from watchword.chat.template import ChatTemplate
from watchword.chat.turns import Span
from watchword.chat.types import Conversation, Message, ToolCall
from watchword.errors import RowTemplateError, TemplateLacksError

BESIDE, THOUGHTS, SCHEMA = "text beside a tool call", "thoughts", "details of a tool's schema"
RESULTS, END = "results of tools", "a part of the end of turns (the tokenizer joins it with what follows)"
_THOUGHTS, _END_OF_THOUGHTS = "<think>", "</think>"


def notes(counts: Mapping[str, int], called: str) -> list[str]:
    """What a template left out of so many rows, in a sentence for each kind; ``called`` is the template."""
    return [
        f"{called} leaves out {kind} in {counted(count)}: nothing of that is trained on"
        for kind, count in sorted(counts.items())
    ]


def check_abilities(conv: Conversation, form: ChatTemplate, offset: int = 0) -> None:
    """Raises TemplateLacksError, with the field, for calls or tools that the template writes in no row."""
    way_out = "they would be lost: leave such rows out, or choose a model that is made for tools"
    for index, message in enumerate(conv.messages):
        if message.tool_calls and not form.abilities.calls:
            field = f"messages[{index + offset}].tool_calls"
            raise TemplateLacksError(f"{form.called} writes no tool calls; {way_out}", field=field)
    if conv.tools and not form.abilities.tools:
        raise TemplateLacksError(f"{form.called} writes no tools; {way_out}", field="tools")


def dropped(
    conv: Conversation, text: str, spans: dict[int, Span], form: ChatTemplate, offset: int = 0
) -> tuple[str, ...]:
    """What the template left out and may leave out, each kind once. ``spans`` say where trained answers stand.

    ``offset`` is added to a message's place for messages. Raises RowTemplateError, with the field, for what must be there.
    """
    found = list(_tools(conv, text, form))
    for index, message in enumerate(conv.messages):
        start, stop = spans.get(index, (0, len(text)))
        field = f"messages[{index + offset}]"
        if message.role == "assistant":
            found += _answer(message, text[start:stop], field, form)
        elif message.role == "tool":
            found += [] if _result_stands(message.text, text) else [RESULTS]
        elif message.text.strip() not in text:
            raise RowTemplateError(
                f"{form.called} does not write this message as it is; change it", field=f"{field}.content"
            )
    return tuple(dict.fromkeys(found))


def _answer(message: Message, said: str, field: str, form: ChatTemplate) -> Iterator[str]:
    content, thoughts = message.text.strip(), (message.reasoning_content or "").strip()
    if not _thought_first(thoughts, content if content in said else "", said):
        yield THOUGHTS
    if content not in said:
        if message.tool_calls:
            yield BESIDE
        elif _without_thoughts(content) in said:
            if not _thought_first(_thoughts_in(content), _without_thoughts(content), said):
                yield THOUGHTS
        else:
            raise RowTemplateError(
                f"{form.called} does not write this answer as it is; change it", field=f"{field}.content"
            )
    for number, call in enumerate(message.tool_calls or ()):
        _call(call, said, f"{field}.tool_calls[{number}]", form)


def _thought_first(thoughts: str, content: str, said: str) -> bool:
    """Whether thoughts are written, and the answer's words behind them."""
    return not thoughts or (thoughts in said and content in said.partition(thoughts)[2])


def _without_thoughts(content: str) -> str:
    return content.rpartition(_END_OF_THOUGHTS)[2].strip()


def _thoughts_in(content: str) -> str:
    """Thoughts that stand in the content itself; the request for an answer may hold the tag that opens them."""
    return content.rpartition(_END_OF_THOUGHTS)[0].strip().removeprefix(_THOUGHTS).strip()


def _call(call: ToolCall, said: str, field: str, form: ChatTemplate) -> None:
    """Raises RowTemplateError unless the call's name and arguments are written."""
    name = call.function.name
    if not _stands(name, said):
        raise RowTemplateError(f"{form.called} does not write the call of {name!r}", field=f"{field}.function.name")
    for leaf in _leaves(_decoded(call.function.arguments)):
        if not _stands(leaf, said):
            raise RowTemplateError(
                f"{form.called} does not write {shown(leaf)} among the arguments of {name!r}",
                field=f"{field}.function.arguments",
            )


def _tools(conv: Conversation, text: str, form: ChatTemplate) -> Iterator[str]:
    for number, tool in enumerate(conv.tools or ()):
        function = tool.get("function", tool)
        if not isinstance(function, dict):
            continue
        for key, leaf in _required(function):
            if not _stands(leaf, text):
                raise RowTemplateError(
                    f"{form.called} does not write {shown(leaf)} of this tool", field=f"tools[{number}].{key}"
                )
        if not all(_stands(text_, text) for text_ in _details(function)):
            yield SCHEMA


def _required(function: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """(field, text) of a tool's name and description, and of the names of its parameters."""
    for key in ("name", "description"):
        if isinstance(function.get(key), str):
            yield f"function.{key}", function[key]
    parameters = function.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, dict) else None
    for name in properties if isinstance(properties, dict) else ():
        yield f"function.parameters.properties.{name}", name


def _details(schema: dict[str, Any]) -> Iterator[str]:
    """Names and texts in a schema; the words of JSON Schema itself, and types, templates write in ways of their own."""
    waiting: list[Any] = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            properties = value.get("properties")
            if isinstance(properties, dict):
                yield from properties
                waiting += properties.values()
            waiting += (inner for key, inner in value.items() if key not in ("type", "properties"))


def _leaves(value: Any) -> Iterator[Any]:
    """Every key and every value that holds no further ones; null, which templates leave out, is none.

    Not recursive, as above: how deep values are nested is the tenant's choice.
    """
    waiting = deque([value])
    while waiting:
        value = waiting.popleft()
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value
        elif value is not None:
            yield value


def _stands(leaf: Any, text: str) -> bool:
    return any(form in text for form in _forms(leaf))


def _forms(leaf: Any) -> Iterator[str]:
    """The ways in which templates write a value: as it is, in JSON, in JSON with escapes, in Python."""
    if isinstance(leaf, str):
        yield leaf.strip()
        yield json.dumps(leaf, ensure_ascii=False)[1:-1]
        yield json.dumps(leaf)[1:-1]
        yield repr(leaf)[1:-1]
        return
    yield json.dumps(leaf)
    yield str(leaf)


def _result_stands(result: str, text: str) -> bool:
    """Whether a tool's result is written, as it is or, where it is JSON, value by value."""
    return _stands(result, text) or all(_stands(leaf, text) for leaf in _leaves(_decoded(result)))


def _decoded(arguments: str) -> Any:
    """The arguments as a value; text that is no JSON is looked for as it is."""
    try:
        return msgspec.json.decode(arguments or "{}")
    except msgspec.DecodeError:
        return arguments
