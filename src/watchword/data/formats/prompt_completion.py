"""Completions: ``{"prompt": …, "completion": …}``, as two texts kept to the letter, or as two lists of turns.

Lists of turns are TRL's conversational format. As there, only the completion is trained on: answers in the prompt get weight 0.
"""

from __future__ import annotations

from typing import Any

from watchword.chat.fault import Fault
from watchword.chat.types import Conversation
from watchword.data.formats._chat import with_tools
from watchword.data.formats.base import RowFormat, Translation, only_text
from watchword.data.places import Place, Places
from watchword.data.shape import empty_text, wrong_type
from watchword.data.spellings import Turns
from watchword.errors import DataError

_KEYS = ("prompt", "completion")


class PromptCompletion(RowFormat):
    columns = (*_KEYS, "tools")

    def detect(self, obj: dict[str, Any]) -> bool:
        return "prompt" in obj and "completion" in obj

    def translate(self, obj: dict[str, Any]) -> Translation:
        if all(isinstance(obj.get(key), (list, dict)) for key in _KEYS):
            return _conversational(obj)
        faults = [fault for key in _KEYS for fault in wrong_type(obj.get(key), str, "a string", key)]
        faults += empty_text(obj.get("prompt"), "give the request that is answered, or leave the row out", "prompt")
        faults += empty_text(
            obj.get("completion"), "give the answer that is to be learned, or leave the row out", "completion"
        )
        if obj.get("tools") is not None:
            faults.append(Fault("tools stand beside texts", "write prompt and completion as lists of turns", "tools"))
        if faults:
            return Translation({}, Places(), faults)
        roles = zip(("user", "assistant"), _KEYS, strict=True)
        messages = [{"role": role, "content": obj[key]} for role, key in roles]
        return Translation({"messages": messages}, Places(messages=[Place(key) for key in _KEYS]))

    def from_conversation(self, conv: Conversation) -> dict[str, Any]:
        only_text(conv, "prompt_completion")
        if [message.role for message in conv.messages] != ["user", "assistant"]:
            raise DataError("prompt_completion holds one user and one assistant message; write the openai format")
        if conv.messages[1].weight == 0:
            raise DataError("prompt_completion cannot hold weight 0; write the openai format", field="weight")
        return {"prompt": conv.messages[0].text, "completion": conv.messages[1].text}


def _conversational(obj: dict[str, Any]) -> Translation:
    turns = Turns()
    turns.add_turns(obj["prompt"], "prompt")
    for message in turns.messages:
        if isinstance(message, dict) and message.get("role") == "assistant":
            message["weight"] = 0
    turns.add_turns(obj["completion"], "completion")
    row: dict[str, Any] = {"messages": turns.messages}
    places = Places({"messages": "completion"}, turns.places)
    return Translation(row, places, turns.faults, with_tools(row, obj, places, turns.faults))
