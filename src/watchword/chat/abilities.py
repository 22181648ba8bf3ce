"""What a chat template can write, found by rendering probes once: tool calls, tools, thoughts, text beside a call.

Templates differ in what they want. A call's arguments are an object or text, an absent content is "" or None, thoughts
have one name or another. The first way in which a probe comes out whole is the way for every row.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from watchword.errors import TemplateError

Messages = list[dict[str, Any]]
Render = Callable[[Messages, list[dict[str, Any]] | None], str]
# The names under which templates look for the model's thoughts.
THOUGHT_KEYS = ("reasoning_content", "thinking", "reasoning")
_KEY, _VALUE = "qqkey", "QQVALUE"
_ARGUMENTS = {_KEY: _VALUE}
PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": "qqname",
        "description": "QQABOUT",
        "parameters": {"type": "object", "properties": {_KEY: {"type": "string", "description": "QQKEYABOUT"}}},
    },
}
_USER = {"role": "user", "content": "QQUSER"}
_ANSWER = {"role": "assistant", "content": "QQANSWER"}
# Mistral takes ids of nine letters and digits only.
_RESULT = {"role": "tool", "content": "QQRESULT", "tool_call_id": "call12345", "name": "qqname"}


# What a template might escape, replace, cut, or turn to another case.
_ANY_TEXT = " aA1 <b>&amp;</b> \"'\\ `#*_~ {{ x }} [y] é ß 🥖\r\n\n  - z\t." + " long" * 400 + "."


@dataclass(frozen=True)
class CallStyle:
    """How the template takes a call: its arguments as an ``object`` or as ``text``, and what stands for no content."""

    arguments: Literal["object", "text"] = "object"
    no_content: str | None = ""


_STYLES = (CallStyle("object", ""), CallStyle("text", ""), CallStyle("object", None), CallStyle("text", None))


@dataclass(frozen=True)
class Abilities:
    """What a template writes. ``thoughts`` is the key under which it takes a message's thoughts, None where it drops them.

    ``alternating``: whether it writes every text as it is in rows in which user and assistant take turns, with a system
    text.
    """

    calls: bool
    tools: bool
    thoughts: str | None
    alternating: bool
    style: CallStyle


def wants_parts(render: Render) -> bool:
    """Whether the template writes content only where it is a list of parts."""
    text = [{"role": "user", "content": "QQUSER"}, {"role": "assistant", "content": "QQANSWER"}]
    if "QQANSWER" in (_tried(render, text, None) or ""):
        return False
    return "QQANSWER" in (_tried(_in_parts(render), text, None) or "")


def abilities_of(render: Render, *, system: bool, parts: bool) -> Abilities:
    """Probes a template through ``render``; ``system`` says whether it takes a system role, ``parts`` how it takes content."""
    render = _in_parts(render) if parts else render
    style = next(_styles(render), None)
    whole = style or CallStyle()
    return Abilities(
        calls=style is not None or "qqname" in _said(_tried(render, [_USER, _call(whole)], None)),
        tools=_writes_tools(render),
        thoughts=next(_thought_keys(render, whole), None),
        alternating=_alternates(render, system),
        style=whole,
    )


def _styles(render: Render) -> Iterator[CallStyle]:
    """Ways of giving a call in which the template writes its name and its arguments."""
    for style in _STYLES:
        if any(_writes_call(_tried(render, messages, [PROBE_TOOL])) for messages in _conversations(style)):
            yield style


def _conversations(style: CallStyle) -> Iterator[Messages]:
    """A call that was answered, and one that ends a row: some templates take one of them only."""
    yield [_USER, _call(style), _RESULT, _ANSWER]
    yield [_USER, _call(style)]


def _writes_call(text: str | None) -> bool:
    """Whether name and arguments stand behind the question, and not as Python would print an object."""
    said = _said(text)
    return "qqname" in said and _KEY in said and _VALUE in said and repr(_ARGUMENTS) not in said


def _said(text: str | None) -> str:
    """What stands behind the question."""
    return (text or "").rpartition("QQUSER")[2]


def _call(style: CallStyle) -> dict[str, Any]:
    arguments = _ARGUMENTS if style.arguments == "object" else f'{{"{_KEY}": "{_VALUE}"}}'
    call = {"id": "call12345", "type": "function", "function": {"name": "qqname", "arguments": arguments}}
    return {"role": "assistant", "content": style.no_content, "tool_calls": [call]}


def _writes_tools(render: Render) -> bool:
    text = _tried(render, [_USER, _ANSWER], [PROBE_TOOL]) or ""
    return all(word in text for word in ("qqname", _KEY))


def _thought_keys(render: Render, style: CallStyle) -> Iterator[str]:
    """Keys whose text is written for a last answer, or beside a call."""
    for key in THOUGHT_KEYS:
        turns = (_ANSWER, _call(style))
        if any("QQTHOUGHT" in (_tried(render, [_USER, {**turn, key: "QQTHOUGHT"}], None) or "") for turn in turns):
            yield key


def _alternates(render: Render, system: bool) -> bool:
    """Whether every text of plain rows of one to three questions is written, with a system text and without."""
    fronts = [[], [{"role": "system", "content": "QQSYSTEM"}]] if system else [[]]
    for front, count in itertools.product(fronts, (1, 2, 3)):
        talk = [
            {"role": role, "content": f"{role}{at}{_ANY_TEXT}"} for at in range(count) for role in ("user", "assistant")
        ]
        text = _tried(render, [*front, *talk], None)
        if text is None or not all(message["content"] in text for message in [*front, *talk]):
            return False
    return True


def _in_parts(render: Render) -> Render:
    """The same with every content as a list of one part."""

    def rendered(messages: Messages, tools: list[dict[str, Any]] | None) -> str:
        return render([{**turn, "content": _as_parts(turn["content"])} for turn in messages], tools)

    return rendered


def _as_parts(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) and content else content


def _tried(render: Render, messages: Messages, tools: list[dict[str, Any]] | None) -> str | None:
    """The text, None where the template rejects the messages."""
    try:
        return render(messages, tools)
    except TemplateError:
        return None
