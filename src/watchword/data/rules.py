"""What a conversation must be before it is trained on: the meaning of a row, once its shape is right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from watchword.chat.fault import Fault, shown
from watchword.chat.types import ROLES, SYSTEM_ROLES, Conversation, Message
from watchword.data.calls import Calls
from watchword.data.remarks import Remark
from watchword.registry import did_you_mean

_SURROGATE = re.compile("[\ud800-\udfff]")
_TALKERS = ("user", "assistant")
_ROLE_FIXES = {
    "human": "call it 'user'",
    "gpt": "call it 'assistant'",
    "bot": "call it 'assistant'",
    "model": "call it 'assistant'",
    "function": "call it 'tool' and give the call's tool_call_id",
}


def check(conv: Conversation, *, line: int | None = None, training: bool = True) -> Iterator[Fault]:
    """Every fault of a conversation, in order. ``training`` asks for a last assistant turn that the loss falls on."""
    for fault in _faults(conv, training):
        yield fault.at(line)


def remarks_on(conv: Conversation) -> Iterator[Remark]:
    """What a valid conversation has that somebody should know of."""
    called = [call.function.name for message in conv.messages for call in message.tool_calls or ()]
    if called:
        declared = [_tool_name(tool) for tool in conv.tools or ()]
        if unknown := next((name for name in called if name not in declared), None):
            yield Remark("a call is of a function that the row's tools do not declare", shown(unknown))
    if any(message.role == "tool" and message.tool_call_id is None for message in conv.messages):
        yield Remark("a tool message answers a call that stands as text in the answer before, and stays text")


def _tool_name(tool: dict[str, Any]) -> object:
    function = tool.get("function", tool)
    return function.get("name") if isinstance(function, dict) else None


def obviously_fine(conv: Conversation) -> bool:
    """A quick yes for the plain case (text only, no tools, no weights); a no means: ask ``check``."""
    role = None
    for index, message in enumerate(conv.messages):
        role, content = message.role, message.content
        if type(content) is not str or not content or content.isspace() or "\0" in content:
            return False
        if role not in _TALKERS and (index or role != "system"):
            return False
        if message.weight is not None or message.tool_calls is not None or message.tool_call_id is not None:
            return False
        if message.name is not None or message.reasoning_content is not None:
            return False
    return role == "assistant"


def _faults(conv: Conversation, training: bool) -> Iterator[Fault]:
    calls = Calls()
    for index, message in enumerate(conv.messages):
        field = f"messages[{index}]"
        yield from _role_faults(message, index, field)
        yield from _content_faults(message, field)
        yield from _weight_faults(message, field)
        yield from _tool_faults(message, field)
        yield from calls.faults(message, field, conv.messages[index - 1] if index else None)
        yield from _text_faults(message, field)
    if not conv.messages:
        yield Fault("the row has no message", "give at least a user and an assistant message", "messages")
    elif training:
        yield from _training_faults(conv)


def _role_faults(message: Message, index: int, field: str) -> Iterator[Fault]:
    if message.role not in ROLES:
        fix = _ROLE_FIXES.get(message.role, f"{did_you_mean(message.role, ROLES)}use one of {', '.join(ROLES)}")
        yield Fault(f"unknown role {shown(message.role)}", fix, f"{field}.role")
    elif message.role in SYSTEM_ROLES and index > 0:
        problem = f"a {message.role} message stands at place {index + 1}, which several chat templates reject"
        yield Fault(problem, "merge its text into one system message at the very start", f"{field}.role")


def _content_faults(message: Message, field: str) -> Iterator[Fault]:
    blank = not message.text.strip()
    if message.role == "assistant":
        if blank and not message.tool_calls:
            yield Fault(
                "the assistant turn is empty", "give it content or tool_calls, or remove it", f"{field}.content"
            )
    elif message.role == "tool":
        if message.content is None:
            yield Fault("the tool message has no content", 'give the result, "" if there is none', f"{field}.content")
    elif blank:
        yield Fault(f"the {message.role} message is empty", "give it content, or remove it", f"{field}.content")
    if isinstance(message.content, tuple):
        for index, part in enumerate(message.content):
            if part.type != "text":
                problem = f"the part is {shown(part.type)}"
                yield Fault(problem, "only 'text' parts can be trained on", f"{field}.content[{index}].type")


def _weight_faults(message: Message, field: str) -> Iterator[Fault]:
    if message.weight is None:
        return
    if message.role != "assistant":
        problem = f"a {message.role} message has a weight"
        yield Fault(problem, "remove it: only assistant turns are trained on", f"{field}.weight")
    elif message.weight not in (0, 1):
        yield Fault(f"the weight is {message.weight}", "use 0 (not trained on) or 1", f"{field}.weight")


def _tool_faults(message: Message, field: str) -> Iterator[Fault]:
    if message.tool_calls is not None and message.role != "assistant":
        problem = f"a {message.role} message has tool_calls"
        yield Fault(problem, "move them to an assistant message", f"{field}.tool_calls")
    if message.tool_call_id is not None and message.role != "tool":
        problem = f"a {message.role} message has a tool_call_id"
        yield Fault(problem, "remove it, or make it a tool message", f"{field}.tool_call_id")
    if message.reasoning_content is not None and message.role != "assistant":
        problem = f"a {message.role} message has thoughts"
        yield Fault(problem, "remove them: only the model thinks", f"{field}.reasoning_content")


def _text_faults(message: Message, field: str) -> Iterator[Fault]:
    texts = [("content", message.text), ("name", message.name or "")]
    if message.reasoning_content is not None:
        texts.append(("reasoning_content", message.reasoning_content))
    for index, call in enumerate(message.tool_calls or ()):
        texts += [(f"tool_calls[{index}].function", call.function.name + call.function.arguments)]
    for key, text in texts:
        if "\0" in text:
            problem = f"a NUL character stands at place {text.index(chr(0)) + 1}"
            yield Fault(problem, "remove it (it is often a sign of UTF-16 text)", f"{field}.{key}")
        if surrogate := _SURROGATE.search(text):
            problem = f"half of a surrogate pair stands at place {surrogate.start() + 1}"
            yield Fault(problem, "write the whole character; the text was cut inside an emoji", f"{field}.{key}")


def _training_faults(conv: Conversation) -> Iterator[Fault]:
    answers = [message for message in conv.messages if message.role == "assistant"]
    last = conv.messages[-1]
    if not answers:
        yield Fault("the row has no assistant message", "add the answer that is to be learned", "messages")
    elif last.role != "assistant":
        field = f"messages[{len(conv.messages) - 1}].role"
        yield Fault(f"the last message is by {shown(last.role)}", "end with the assistant's answer", field)
    elif not any(message.trained for message in answers):
        yield Fault("every assistant turn has weight 0", "set at least one weight to 1, or remove the row", "messages")
