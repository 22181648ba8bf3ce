"""Tools and calls as people write them → OpenAI's shape: JSON text, bare functions, arguments as objects, no ids.

What has OpenAI's shape already stays as it is, to the letter; what is no tool at all is left to ``shape``, which says so.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from watchword.chat.fault import Fault, in_a_sentence, shown
from watchword.data.duplicates import keys_twice

WRAPPED = 'a function among the tools had no {"type": "function", "function": ...} around it, and got one'
_CALL_FIX = 'give {"name": ..., "arguments": {...}}'
Problems = list[Fault]


def decoded(text: str, field: str, faults: Problems) -> Any:
    """The value of JSON text that stands inside a row, or None and a fault."""
    try:
        value, twice = msgspec.json.decode(text), keys_twice(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        said = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(" - at ")[0]
        faults.append(
            Fault(
                f"the text is no JSON ({in_a_sentence(said)})",
                "write it as JSON, or as a value of its own",
                field,
            )
        )
        return None
    faults += [Fault(f"the key {shown(key)} stands twice in one object", "keep one of the two", field) for key in twice]
    return value


def openai_tools(value: object, field: str, faults: Problems) -> tuple[Any, bool]:
    """The tools of a row, and whether a bare function was among them."""
    if isinstance(value, str):
        if not value.strip():
            return None, False
        value = decoded(value, field, faults)
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        return value, False
    made = [_tool(tool, f"{field}[{index}]", faults) for index, tool in enumerate(value)]
    return [tool for tool, _ in made], any(bare for _, bare in made)


def openai_calls(value: object, field: str, faults: Problems) -> Any:
    """Calls of an assistant's turn; what is no call stays as it is."""
    if isinstance(value, str):
        value = decoded(value, field, faults)
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        return value
    return [_call(call) for call in value]


def calls_in_text(value: object, field: str, faults: Problems) -> list[Any]:
    """The calls that are a whole turn's text, as ShareGPT's ``function_call`` turns have them."""
    before = len(faults)
    calls = openai_calls(value, field, faults)
    if isinstance(calls, list) and calls and all(isinstance(call, dict) and "function" in call for call in calls):
        return calls
    if len(faults) > before:
        faults[-1] = Fault(f"the call cannot be read: {faults[-1].problem}", _CALL_FIX, field)
    else:
        faults.append(Fault(f"{shown(value)} is no call", _CALL_FIX, field))
    return []


def is_plain_tool(tool: object) -> bool:
    """Whether a tool is left as it is: wrapped, with its parameters as an object; or no function that we know."""
    return isinstance(tool, dict) and not _is_bare(tool) and not isinstance(_parameters(tool), str)


def _is_bare(tool: dict[str, Any]) -> bool:
    return "name" in tool and "function" not in tool and tool.get("type", "function") == "function"


def _parameters(tool: dict[str, Any]) -> object:
    function = tool.get("function")
    return function.get("parameters") if isinstance(function, dict) else None


def _tool(tool: object, field: str, faults: Problems) -> tuple[Any, bool]:
    """One tool in OpenAI's shape, and whether it was a bare function."""
    if isinstance(tool, str):
        tool = decoded(tool, field, faults)
    if not isinstance(tool, dict) or is_plain_tool(tool):
        return tool, False
    bare = _is_bare(tool)
    made: dict[str, Any] = {"type": "function", "function": {**tool}} if bare else {**tool}
    function = made.get("function")
    if isinstance(function, dict):
        if bare:
            function.pop("type", None)
        parameters = function.get("parameters")
        if isinstance(parameters, str):
            parameters = decoded(parameters, f"{field}.function.parameters", faults)
            made["function"] = {**function, "parameters": parameters}
    return made, bare


def _call(call: object) -> Any:
    if not isinstance(call, dict):
        return call
    made = _wrapped_call(call) if "function" not in call and "name" in call else call
    function = made.get("function")
    if not isinstance(function, dict):
        return made
    arguments = function.get("arguments")
    if isinstance(arguments, (dict, list)) or (arguments is None and set(function) <= {"name", "arguments"}):
        text = json.dumps({} if arguments is None else arguments, ensure_ascii=False)
        return {**made, "function": {**function, "arguments": text}}
    return made


def _wrapped_call(call: dict[str, Any]) -> dict[str, Any]:
    known = ("id", "type")
    function = {key: value for key, value in call.items() if key not in known}
    if "arguments" not in function and isinstance(function.get("parameters"), dict):
        function["arguments"] = function.pop("parameters")  # as Llama 3.1 writes it
    return {**{key: call[key] for key in known if key in call}, "function": function}


def with_ids(calls: list[Any], taken: set[str]) -> list[Any]:
    """The calls with an id each; ``taken`` are those of the row, and grows."""
    return [_with_id(call, taken) for call in calls]


def _with_id(call: object, taken: set[str]) -> Any:
    if not isinstance(call, dict) or call.get("id") is not None:
        return call
    number = len(taken)
    while f"call_{number}" in taken:
        number += 1
    taken.add(f"call_{number}")
    return {"id": f"call_{number}", "type": "function", **{key: value for key, value in call.items() if key != "id"}}
