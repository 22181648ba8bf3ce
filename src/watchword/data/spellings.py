"""Turns as people write them → messages in OpenAI's shape: role or from, content or value, flags, thoughts, calls.

A turn that has OpenAI's shape stays as it is. Faults that a row in OpenAI's shape may have too are left to ``shape``
and ``rules``. Here are only the faults of the other spellings.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from watchword.chat.fault import Fault, kind, shown
from watchword.data.places import Place
from watchword.data.tools import calls_in_text, decoded, openai_calls, with_ids
from watchword.registry import did_you_mean

SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "assistant": "assistant",
    "system": "system",
    "function_call": "call",
    "tool_call": "call",
    "observation": "tool",
    "tool": "tool",
    "tool_response": "tool",
    "function_response": "tool",
}
# Under ``role`` these are no roles of OpenAI's, so they can mean one thing only.
_ROLES = {name: SPEAKERS[name] for name in ("function_call", "tool_call", "observation", "tool_response")}
_OTHER_KEYS = {"from": "role", "value": "content", "thinking": "reasoning_content", "reasoning": "reasoning_content"}
_FLAGS = ("loss", "train", "training")


@dataclass
class Turns:
    """Messages in OpenAI's shape with the place of each, and what is wrong with turns that cannot be told."""

    messages: list[Any] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    _ids: set[str] = field(default_factory=set)
    _open: list[tuple[str, str]] = field(default_factory=list)

    def add_system(self, text: object, column: str) -> None:
        """A system text that stands beside the turns."""
        if text is None or text == "":
            return
        if not isinstance(text, str):
            self.faults.append(Fault(f"{shown(text)} is {kind(text)}", "give a string", column))
            return
        self.add({"role": "system", "content": text}, Place(column))

    def add(self, message: Any, place: Place) -> None:
        """One message; calls without an id get one, and answers without one get that of the call they answer."""
        if isinstance(message, dict):
            message = self._paired(message)
        self.messages.append(message)
        self.places.append(place)

    def add_turns(self, value: object, column: str) -> bool:
        """All turns of a column; False where it is no list of them."""
        before = len(self.faults)
        turns = _listed(value, column, self.faults)
        if not isinstance(turns, list):
            if len(self.faults) == before and column != "messages":
                self.faults.append(Fault(f"{column} is {kind(turns)}", "give an array of messages", column))
            return False
        self._ids |= {
            call["id"]
            for turn in turns
            if isinstance(turn, dict) and isinstance(turn.get("tool_calls"), list)
            for call in turn["tool_calls"]
            if isinstance(call, dict) and isinstance(call.get("id"), str)
        }
        texts = bool(turns) and all(isinstance(turn, str) for turn in turns)
        for index, turn in enumerate(turns):
            place = f"{column}[{index}]"
            if texts and column != "messages":
                self.add({"role": ("user", "assistant")[index % 2], "content": turn}, Place(place))
            elif isinstance(turn, dict):
                self._add_turn(turn, place, alone=not (index + 1 < len(turns) and _is_answer(turns[index + 1])))
            else:
                self.add(turn, Place(place))
        return True

    def _add_turn(self, turn: dict[str, Any], place: str, *, alone: bool) -> None:
        message, names = _renamed(turn, place, self.faults)
        speaker = message.get("role")
        if names.get("role") == "from":
            self._check_speaker(speaker, place)
            message["role"] = speaker = SPEAKERS.get(speaker, speaker) if isinstance(speaker, str) else speaker
        elif isinstance(speaker, str):
            message["role"] = speaker = _ROLES.get(speaker, speaker)
        _weighted(message, names, place, self.faults)
        if speaker == "call":
            self._add_call(message, place, names)
        elif speaker == "tool" or (speaker == "function" and self._open):
            self._add_answer({**message, "role": "tool"}, Place(place, names), alone=alone)
        else:
            self.add(message, Place(place, names, self._own_calls(message, place)))

    def _own_calls(self, message: dict[str, Any], place: str) -> tuple[str, ...]:
        """Brings a message's calls into OpenAI's shape, and gives their fields where those are others than ours."""
        if message.get("tool_calls") == []:
            del message["tool_calls"]
        if isinstance(message.get("function_call"), dict) and "tool_calls" not in message:
            # What OpenAI's format had before there were tools.
            message["tool_calls"] = [message.pop("function_call")]
            fields: tuple[str, ...] = (f"{place}.function_call",)
        else:
            fields = ()
        if message.get("tool_calls"):
            message["tool_calls"] = openai_calls(message["tool_calls"], f"{place}.tool_calls", self.faults)
        return fields

    def _check_speaker(self, speaker: object, place: str) -> None:
        if not isinstance(speaker, str) or speaker not in SPEAKERS:
            fix = f"{did_you_mean(str(speaker), SPEAKERS)}use one of {', '.join(SPEAKERS)}"
            self.faults.append(Fault(f"unknown speaker {shown(speaker)}", fix, f"{place}.from"))

    def add_call(self, value: object, column: str) -> None:
        """An assistant's turn that is calls only, from a column of them."""
        calls = with_ids(calls_in_text(value, column, self.faults), self._ids)
        self.add({"role": "assistant", "tool_calls": calls}, Place(column, None, (column,) * len(calls)))

    def _add_call(self, message: dict[str, Any], place: str, names: dict[str, str]) -> None:
        """A turn whose text is a call; several of them in a row are the calls of one message."""
        here = f"{place}.{names.get('content', 'content')}"
        calls = with_ids(calls_in_text(message.pop("content", None), here, self.faults), self._ids)
        last = self.places[-1] if self.places else None
        # A turn with more than its call (thoughts, a name) stays by itself: one message has no place for it twice.
        bare = set(message) <= {"role", "weight"}
        if bare and last is not None and last.calls and self.messages[-1].get("weight") == message.get("weight"):
            before = self.messages.pop()
            self.places[-1] = Place(last.field, last.names, (*last.calls, *[here] * len(calls)))
            self.messages.append({**before, "tool_calls": [*before["tool_calls"], *calls]})
            self._open += _signatures(calls)
            return
        self.add({**message, "role": "assistant", "tool_calls": calls}, Place(place, names, (here,) * len(calls)))

    def _add_answer(self, message: dict[str, Any], place: Place, *, alone: bool) -> None:
        """A tool's turn. Where several calls wait and no other answer follows, a list with their results answers each."""
        content = message.get("content")
        results = _results(content, len(self._open)) if alone and "tool_call_id" not in message else None
        for result in [content] if results is None else results:
            text = _text(result) if isinstance(result, dict) or results is not None else result
            self.add({**message, "content": text} if "content" in message else message, place)

    def _paired(self, message: dict[str, Any]) -> dict[str, Any]:
        calls = message.get("tool_calls")
        if isinstance(calls, list) and calls:
            message = {**message, "tool_calls": with_ids(calls, self._ids)}
            self._open = _signatures(message["tool_calls"])
        elif message.get("role") == "tool":
            self._open, message = _answered(self._open, message)
        return message


def _answered(waiting: list[tuple[str, str]], message: dict[str, Any]) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """The calls that still wait, and the answer with the id of its call: the one of its name, or else the first."""
    given = message.get("tool_call_id")
    if given is None and waiting:
        named = [entry for entry in waiting if entry[1] == message.get("name")]
        given = (named or waiting)[0][0]
        message = {**message, "tool_call_id": given}
    return [entry for entry in waiting if entry[0] != given], message


def _signatures(calls: list[Any]) -> list[tuple[str, str]]:
    """(id, function's name) of calls."""
    found = []
    for call in calls:
        if isinstance(call, dict) and isinstance(call.get("id"), str):
            function = call.get("function")
            name = function.get("name") if isinstance(function, dict) else None
            found.append((call["id"], name if isinstance(name, str) else ""))
    return found


def _listed(value: object, column: str, faults: list[Fault]) -> object:
    """Turns as a list: also from JSON text, and from an object of lists, which is how tables may hold them."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        value = decoded(value, column, faults)
    if not isinstance(value, dict) or not value or not all(isinstance(entry, list) for entry in value.values()):
        return value
    if len({len(entry) for entry in value.values()}) > 1:
        lengths = ", ".join(f"{key} {len(entry)}" for key, entry in value.items())
        faults.append(Fault(f"the lists differ in length ({lengths})", "give every turn all its keys", column))
        return []
    rows = zip(*value.values(), strict=True)
    return [{key: entry for key, entry in zip(value, row, strict=True) if entry is not None} for row in rows]


def _renamed(turn: dict[str, Any], place: str, faults: list[Fault]) -> tuple[dict[str, Any], dict[str, str]]:
    """The turn under OpenAI's keys, and what those are called in the file."""
    message: dict[str, Any] = {}
    names: dict[str, str] = {}
    for key, value in turn.items():
        ours = _OTHER_KEYS.get(key, key)
        if ours != key and value is None:
            if ours not in turn:
                names.setdefault(ours, key)
            continue
        if ours in message:
            both = f"the turn has both {names.get(ours, ours)!r} and {key!r}"
            faults.append(Fault(both, "keep one of the two", f"{place}.{key}"))
        message[ours] = value
        if ours != key:
            names[ours] = key
    return message, names


def _weighted(message: dict[str, Any], names: dict[str, str], place: str, faults: list[Fault]) -> None:
    """Flags that say whether a turn is trained, as a weight. A weight that is neither 0 nor 1 stays for ``shape`` to name."""
    if isinstance(message.get("weight"), float) and message["weight"] in (0.0, 1.0):
        message["weight"] = int(message["weight"])
    for key in _FLAGS:
        if key not in message:
            continue
        flag = message.pop(key)
        if flag is None:
            continue
        if flag not in (0, 1):
            faults.append(Fault(f"{key} is {shown(flag)}", "give true or false", f"{place}.{key}"))
        elif message.get("weight") not in (None, int(flag)):
            other = names.get("weight", "weight")
            faults.append(Fault(f"{key} and {other} say different things", "keep one of the two", f"{place}.{key}"))
        else:
            message["weight"], names["weight"] = int(flag), key
    # Nobody is trained on a question or a tool's answer, so this says what holds anyway.
    if message.get("role") != "assistant" and message.get("weight") == 0 and message.get("role") != "call":
        del message["weight"]


def _is_answer(turn: object) -> bool:
    if not isinstance(turn, dict):
        return False
    speaker = turn.get("role") or turn.get("from")
    return speaker == "function" or (isinstance(speaker, str) and SPEAKERS.get(speaker) == "tool")


def _results(content: object, calls: int) -> list[Any] | None:
    if calls < 2:
        return None
    faults: list[Fault] = []
    results = decoded(content, "", faults) if isinstance(content, str) and content.lstrip().startswith("[") else content
    if faults or not isinstance(results, list) or len(results) != calls:
        return None
    parts = all(isinstance(result, dict) and result.get("type") == "text" for result in results)
    return None if parts else results


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
