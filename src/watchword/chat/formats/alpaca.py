"""Alpaca: ``{"instruction": …, "input": …, "output": …}``, with LLaMA-Factory's ``system`` and ``history``.

Instruction and input are joined by a newline, as LLaMA-Factory does. The key ``text`` of the published data set repeats
the other three in a prompt of its own and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from watchword.chat.fault import Fault
from watchword.chat.formats.base import RowFormat, only_text
from watchword.chat.shape import unknown_keys, wrong_type
from watchword.chat.types import Conversation, Message
from watchword.errors import DataError

KEYS = ("instruction", "input", "output", "system", "history", "text")


class Alpaca(RowFormat):
    def detect(self, obj: dict[str, Any]) -> bool:
        return "instruction" in obj

    def faults(self, obj: dict[str, Any]) -> Iterator[Fault]:
        yield from unknown_keys(obj, KEYS, "")
        for key in ("instruction", "output"):
            yield from wrong_type(obj.get(key), str, "a string", key)
        for key in ("input", "system", "text"):
            yield from wrong_type(obj.get(key), (str, type(None)), "a string", key)
        yield from _history_faults(obj.get("history"))

    def build(self, obj: dict[str, Any]) -> Conversation:
        messages = [Message(role="system", content=obj["system"])] if obj.get("system") else []
        for asked, answered in obj.get("history") or ():
            messages += [Message(role="user", content=asked), Message(role="assistant", content=answered)]
        asked = "\n".join(text for text in (obj["instruction"], obj.get("input")) if text)
        messages += [Message(role="user", content=asked), Message(role="assistant", content=obj["output"])]
        return Conversation(messages=tuple(messages))

    def from_conversation(self, conv: Conversation) -> dict[str, Any]:
        only_text(conv, "alpaca")
        turns = conv.messages[1:] if conv.system is not None else conv.messages
        if not turns or [turn.role for turn in turns] != ["user", "assistant"] * (len(turns) // 2):
            raise DataError("alpaca holds user and assistant turns in alternation only; write the openai format")
        if any(turn.weight == 0 for turn in turns):
            raise DataError("alpaca cannot hold weight 0; write the openai format", field="weight")
        texts = [turn.text for turn in turns]
        row: dict[str, Any] = {"instruction": texts[-2], "input": "", "output": texts[-1]}
        if conv.system is not None:
            row["system"] = conv.system
        if len(texts) > 2:
            row["history"] = [list(pair) for pair in zip(texts[:-2:2], texts[1:-2:2], strict=True)]
        return row


def _history_faults(history: object) -> Iterator[Fault]:
    if not isinstance(history, list):
        yield from wrong_type(history, type(None), "an array of [question, answer] pairs", "history")
        return
    for index, pair in enumerate(history):
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            yield Fault("the entry is no pair of strings", "give [question, answer]", f"history[{index}]")
