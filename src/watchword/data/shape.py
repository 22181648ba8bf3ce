"""The shape of a chat row: keys and types, before it becomes a Conversation.

Field names follow OpenAI's fine-tuning format. A key that we do not know is a fault: reading on without it would lose
what the tenant wrote. Keys that are null in copied API replies (``refusal`` and the like) carry nothing and pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import msgspec

from watchword.chat.fault import Fault, kind, shown
from watchword.chat.types import Conversation, Message
from watchword.data.unsupported import MEDIA_PARTS
from watchword.registry import did_you_mean

ROW_KEYS = Conversation.__struct_fields__
MESSAGE_KEYS = Message.__struct_fields__
# The way out of a key too many in turns; ``formats`` puts its name in, as the file has it.
LEAVE_OUT = "leave it out with `drop_columns`"
EMPTY_IN_REPLIES = ("refusal", "audio", "function_call", "annotations")
RENAMED = {
    "functions": "describe the functions under 'tools'",
    "function_call": "write it as one entry of 'tool_calls'",
    "train_detail": "mark whole turns by 'weight'; parts of a turn cannot be left out of the loss",
}


def shape_faults(row: object) -> Iterator[Fault]:
    """Every unknown key and wrong type in a row of OpenAI's chat format."""
    if not isinstance(row, dict):
        yield Fault(f"a row must be an object, this is {kind(row)}", 'write {"messages": [...]} on each line')
        return
    yield from unknown_keys(row, ROW_KEYS, "")
    yield from _typed(row, "tools", (list, type(None)), "an array of tools")
    yield from _typed(row, "parallel_tool_calls", (bool, type(None)), "true or false")
    if isinstance(row.get("tools"), list):
        for index, tool in enumerate(row["tools"]):
            yield from wrong_type(tool, dict, "an object", f"tools[{index}]")
    messages = row.get("messages")
    if not isinstance(messages, list):
        problem = f"messages is {kind(messages)}" if "messages" in row else "the key 'messages' is missing"
        yield Fault(problem, "give an array of messages", "messages")
        return
    for index, message in enumerate(messages):
        yield from _message_faults(message, f"messages[{index}]")


def conversation_of(row: dict[str, Any]) -> Conversation:
    """The row as a Conversation; ``shape_faults`` must have found nothing."""
    messages = [{key: value for key, value in message.items() if value is not None} for message in row["messages"]]
    known = {key: value for key, value in row.items() if key in ROW_KEYS}
    return msgspec.convert({**known, "messages": messages}, Conversation)


def unknown_keys(row: dict[str, Any], known: Iterable[str], prefix: str) -> Iterator[Fault]:
    """A fault for each key that is not known, with the nearest one that is."""
    known = tuple(known)
    for key, value in row.items():
        if key in known or (value is None and key in EMPTY_IN_REPLIES):
            continue
        hint = did_you_mean(key, known)
        fix = RENAMED.get(key, f"{hint}remove it, or use one of {', '.join(known)}")
        yield Fault(f"unknown key {shown(key)}", fix, f"{prefix}{key}")


def unknown_columns(row: dict[str, Any], known: Iterable[str]) -> Iterator[Fault]:
    """One fault for all columns that a row's format does not know, with the way to leave them out."""
    known = tuple(known)
    extra = [key for key, value in row.items() if key not in known and not (value is None and key in EMPTY_IN_REPLIES)]
    if not extra:
        return
    alone = len(extra) == 1
    fix = RENAMED.get(extra[0]) if alone else None
    if fix is None:
        hint = did_you_mean(extra[0], known) if alone else ""
        fix = f"{hint}leave {'it' if alone else 'them'} out with `drop_columns={','.join(extra)}`"
    names = ", ".join(map(shown, extra))
    yield Fault(f"unknown key{'' if alone else 's'} {names}", fix, extra[0] if alone else None, layout=True)


def empty_text(text: object, fix: str, field: str) -> Iterator[Fault]:
    """A fault where a text is there and says nothing."""
    if isinstance(text, str) and not text.strip():
        yield Fault(f"the {field} is empty", fix, field)


def wrong_type(value: object, types: type | tuple[type, ...], wanted: str, field: str) -> Iterator[Fault]:
    """A fault unless ``value`` has one of the types; true and false are no numbers."""
    accepted = types if isinstance(types, tuple) else (types,)
    if type(value) not in accepted:
        yield Fault(f"{shown(value)} is {kind(value)}", f"give {wanted}", field)


def _typed(row: dict[str, Any], key: str, types: tuple[type, ...], wanted: str, prefix: str = "") -> Iterator[Fault]:
    yield from wrong_type(row.get(key), types, wanted, f"{prefix}{key}")


def _message_faults(message: object, field: str) -> Iterator[Fault]:
    if not isinstance(message, dict):
        yield from wrong_type(message, dict, 'an object {"role": ..., "content": ...}', field)
        return
    dotted = f"{field}."
    for fault in unknown_keys(message, MESSAGE_KEYS, dotted):
        # A data set with a key too many has it in every turn.
        known = fault.fix.startswith("did you mean") or fault.fix in RENAMED.values()
        yield fault if known else replace(fault, fix=LEAVE_OUT, layout=True)
    if "role" not in message:
        yield Fault("the key 'role' is missing", "say who speaks: system, user, assistant or tool", f"{dotted}role")
    else:
        yield from wrong_type(message["role"], str, "a role's name", f"{dotted}role")
    for key in ("name", "tool_call_id", "reasoning_content"):
        yield from _typed(message, key, (str, type(None)), "a string", dotted)
    yield from _typed(message, "weight", (int, type(None)), "0 or 1", dotted)
    yield from _content_faults(message.get("content"), f"{dotted}content")
    yield from _call_faults(message.get("tool_calls"), f"{dotted}tool_calls")


def _content_faults(content: object, field: str) -> Iterator[Fault]:
    if not isinstance(content, list):
        yield from wrong_type(content, (str, type(None)), 'a string or an array of {"type": "text"} parts', field)
        return
    for index, part in enumerate(content):
        here = f"{field}[{index}]"
        if not isinstance(part, dict) or part.get("type") != "text":
            got = shown(part.get("type")) if isinstance(part, dict) else kind(part)
            if isinstance(part, dict) and part.get("type") in MEDIA_PARTS:
                got = f"{got}, and images, video and sound are not supported"
            yield Fault(f"the part is {got}", 'only {"type": "text", "text": ...} parts can be trained on', here)
            continue
        yield from unknown_keys(part, ("type", "text"), f"{here}.")
        yield from wrong_type(part.get("text"), str, "the part's text", f"{here}.text")


def _call_faults(calls: object, field: str) -> Iterator[Fault]:
    if not isinstance(calls, list):
        yield from wrong_type(calls, type(None), "an array of calls", field)
        return
    for index, call in enumerate(calls):
        yield from _one_call_faults(call, f"{field}[{index}]")


def _one_call_faults(call: object, here: str) -> Iterator[Fault]:
    if not isinstance(call, dict):
        yield from wrong_type(call, dict, "an object with id, type and function", here)
        return
    yield from unknown_keys(call, ("id", "type", "function"), f"{here}.")
    yield from wrong_type(call.get("id"), str, "the call's id", f"{here}.id")
    if call.get("type", "function") != "function":
        yield Fault(f"the type is {shown(call['type'])}", "only 'function' calls are known", f"{here}.type")
    function = call.get("function")
    if not isinstance(function, dict):
        yield from wrong_type(function, dict, "an object with name and arguments", f"{here}.function")
        return
    yield from unknown_keys(function, ("name", "arguments"), f"{here}.function.")
    for key in ("name", "arguments"):
        wanted = "JSON text, such as '{}'" if key == "arguments" else "the function's name"
        yield from wrong_type(function.get(key), str, wanted, f"{here}.function.{key}")
