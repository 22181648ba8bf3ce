"""A question and its answer under the names that data sets give them, such as ``{"question": …, "answer": …}``.

``system_prompt`` beside them is Open-Orca's.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

from watchword.chat.types import Conversation
from watchword.data.formats.base import RowFormat, Translation, only_text
from watchword.data.places import Place, Places
from watchword.data.shape import empty_text, wrong_type
from watchword.errors import DataError

_PAIRS = (
    ("question", "answer"),
    ("question", "response"),
    ("query", "response"),
    ("prompt", "response"),
    ("problem", "solution"),
    ("input", "output"),
)


class QuestionAnswer(RowFormat):
    columns = (*dict.fromkeys(chain.from_iterable(_PAIRS)), "system_prompt", "system", "id")
    rank = 2

    def detect(self, obj: dict[str, Any]) -> bool:
        return any(asked in obj and answered in obj for asked, answered in _PAIRS)

    def translate(self, obj: dict[str, Any]) -> Translation:
        pair = next(pair for pair in _PAIRS if all(key in obj for key in pair))
        front = [key for key in ("system_prompt", "system") if obj.get(key)]
        keys = [*front, *pair]
        faults = [fault for key in keys for fault in wrong_type(obj[key], str, "a string", key)]
        for key in pair:
            faults += empty_text(obj[key], "fill it in, or leave the row out", key)
        if faults:
            return Translation({}, Places(), faults)
        roles = [*["system"] * len(front), "user", "assistant"]
        messages = [{"role": role, "content": obj[key]} for role, key in zip(roles, keys, strict=True)]
        return Translation({"messages": messages}, Places(messages=[Place(key) for key in keys]))

    def from_conversation(self, conv: Conversation) -> dict[str, Any]:
        only_text(conv, "question_answer")
        turns = conv.messages[1:] if conv.system is not None else conv.messages
        if [turn.role for turn in turns] != ["user", "assistant"] or turns[1].weight == 0:
            raise DataError("question_answer holds one trained answer to one question; write the openai format")
        front = {} if conv.system is None else {"system_prompt": conv.system}
        return {**front, "question": turns[0].text, "answer": turns[1].text}
