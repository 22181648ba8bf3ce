"""ShareGPT: ``{"conversations": [{"from": "human", "value": …}, {"from": "gpt", "value": …}]}``.

Also the keys that trainers add: ``system`` beside the turns (LLaMA-Factory) and ``weight`` on a turn (Axolotl). The row's
``id`` names it in its data set and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from watchword.chat.fault import Fault, kind, shown
from watchword.chat.formats.base import RowFormat, only_text
from watchword.chat.shape import unknown_keys, wrong_type
from watchword.chat.types import Conversation, Message
from watchword.errors import DataError
from watchword.registry import did_you_mean

ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "assistant": "assistant",
    "system": "system",
}
NAMES = {"system": "system", "user": "human", "assistant": "gpt"}


class ShareGPT(RowFormat):
    def detect(self, obj: dict[str, Any]) -> bool:
        return "conversations" in obj

    def faults(self, obj: dict[str, Any]) -> Iterator[Fault]:
        yield from unknown_keys(obj, ("conversations", "system", "id"), "")
        yield from wrong_type(obj.get("system"), (str, type(None)), "a string", "system")
        turns = obj.get("conversations")
        if not isinstance(turns, list):
            yield Fault(f"conversations is {kind(turns)}", "give an array of turns", "conversations")
            return
        for index, turn in enumerate(turns):
            yield from _turn_faults(turn, f"conversations[{index}]")

    def build(self, obj: dict[str, Any]) -> Conversation:
        messages = [Message(role="system", content=obj["system"])] if obj.get("system") else []
        messages += [
            Message(role=ROLES[turn["from"]], content=turn["value"], weight=turn.get("weight"))
            for turn in obj["conversations"]
        ]
        return Conversation(messages=tuple(messages))

    def from_conversation(self, conv: Conversation) -> dict[str, Any]:
        only_text(conv, "sharegpt")
        return {"conversations": [_turn(message, index) for index, message in enumerate(conv.messages)]}


def _turn(message: Message, index: int) -> dict[str, Any]:
    if message.role not in NAMES:
        raise DataError(
            f"sharegpt has no role {message.role!r}; write the openai format", field=f"messages[{index}].role"
        )
    turn: dict[str, Any] = {"from": NAMES[message.role], "value": message.text}
    return turn if message.weight is None else {**turn, "weight": message.weight}


def _turn_faults(turn: object, field: str) -> Iterator[Fault]:
    if not isinstance(turn, dict):
        yield from wrong_type(turn, dict, 'an object {"from": ..., "value": ...}', field)
        return
    yield from unknown_keys(turn, ("from", "value", "weight"), f"{field}.")
    yield from wrong_type(turn.get("value"), str, "a string", f"{field}.value")
    yield from wrong_type(turn.get("weight"), (int, type(None)), "0 or 1", f"{field}.weight")
    speaker = turn.get("from")
    if not isinstance(speaker, str) or speaker not in ROLES:
        fix = f"{did_you_mean(str(speaker), ROLES)}use one of {', '.join(ROLES)}; for tools write the openai format"
        yield Fault(f"unknown speaker {shown(speaker)}", fix, f"{field}.from")
