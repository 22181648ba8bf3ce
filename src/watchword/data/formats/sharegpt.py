"""ShareGPT: ``{"conversations": [{"from": "human", "value": …}, {"from": "gpt", "value": …}]}``.

What trainers and data sets make of it is read as well: ``system`` and ``tools`` beside the turns, ``function_call`` and
``observation`` turns (LLaMA-Factory). A turn may have ``weight``, ``loss`` or ``train``, and role and content in place
of from and value. Turns may be bare texts (LIMA). The row's ``id`` names it in its data set and is left out.
"""

from __future__ import annotations

from typing import Any

from watchword.chat.types import Conversation, Message
from watchword.data.formats._chat import translated
from watchword.data.formats.base import RowFormat, Translation, only_text
from watchword.errors import DataError

NAMES = {"system": "system", "user": "human", "assistant": "gpt"}


class ShareGPT(RowFormat):
    columns = ("conversations", "conversation", "system", "tools", "id")
    rank = 0

    def detect(self, obj: dict[str, Any]) -> bool:
        return "conversations" in obj or "conversation" in obj

    def translate(self, obj: dict[str, Any]) -> Translation:
        return translated(obj, "conversations" if "conversations" in obj else "conversation")

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
