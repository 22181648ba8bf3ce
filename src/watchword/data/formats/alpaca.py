"""Alpaca: ``{"instruction": …, "input": …, "output": …}``, with LLaMA-Factory's ``system`` and ``history``.

Instruction and input are joined by a newline, as LLaMA-Factory does. The key ``text`` of the published data set repeats
the other three in a prompt of its own and is left out. Dolly calls input and output ``context`` and ``response``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from watchword.chat.fault import Fault
from watchword.chat.types import Conversation
from watchword.data.formats.base import RowFormat, Translation, only_text
from watchword.data.places import Place, Places
from watchword.data.shape import empty_text, wrong_type
from watchword.errors import DataError


class Alpaca(RowFormat):
    columns = ("instruction", "input", "output", "system", "history", "text", "context", "response")

    def detect(self, obj: dict[str, Any]) -> bool:
        return "instruction" in obj

    def translate(self, obj: dict[str, Any]) -> Translation:
        asked, answered = _name(obj, "input", "context"), _name(obj, "output", "response")
        faults = list(_faults(obj, asked, answered))
        if faults:
            return Translation({}, Places(), faults)
        turns = [("system", obj["system"], "system")] if obj.get("system") else []
        for index, pair in enumerate(obj.get("history") or ()):
            roles = zip(("user", "assistant"), pair, range(2), strict=True)
            turns += [(role, text, f"history[{index}][{at}]") for role, text, at in roles]
        question = "\n".join(text for text in (obj["instruction"], obj.get(asked)) if text)
        turns += [("user", question, "instruction"), ("assistant", obj[answered], answered)]
        messages = [{"role": role, "content": text} for role, text, _ in turns]
        return Translation({"messages": messages}, Places(messages=[Place(field) for _, _, field in turns]))

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


def _name(obj: dict[str, Any], usual: str, other: str) -> str:
    return other if other in obj and usual not in obj else usual


def _faults(obj: dict[str, Any], asked: str, answered: str) -> Iterator[Fault]:
    for key in ("instruction", answered):
        if key not in obj:
            yield Fault(f"the key {key!r} is missing", "give a string", key)
        else:
            yield from wrong_type(obj[key], str, "a string", key)
    for key in (asked, "system", "text"):
        yield from wrong_type(obj.get(key), (str, type(None)), "a string", key)
    yield from empty_text(obj.get(answered), "give the answer that is to be learned, or leave the row out", answered)
    yield from _history_faults(obj.get("history"))


def _history_faults(history: object) -> Iterator[Fault]:
    if not isinstance(history, list):
        yield from wrong_type(history, type(None), "an array of [question, answer] pairs", "history")
        return
    for index, pair in enumerate(history):
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            yield Fault("the entry is no pair of strings", "give [question, answer]", f"history[{index}]")
