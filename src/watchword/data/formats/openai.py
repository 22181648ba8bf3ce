"""OpenAI's chat format: ``{"messages": [{"role": …, "content": …}, …], "tools": […]}``.

The other spellings of turns, tools and calls (``spellings``, ``tools``) are read as well. So are ``functions`` and
``function_call`` from before there were tools, and ``system`` beside the messages. Such rows are written anew.
"""

from __future__ import annotations

from typing import Any

import msgspec

from watchword.chat.types import Conversation
from watchword.data.formats._chat import translated
from watchword.data.formats.base import RowFormat, Translation


class OpenAIChat(RowFormat):
    columns = (*Conversation.__struct_fields__, "functions", "system")
    rank = 0

    def detect(self, obj: dict[str, Any]) -> bool:
        return "messages" in obj

    def translate(self, obj: dict[str, Any]) -> Translation:
        return translated(obj, "messages")

    def from_conversation(self, conv: Conversation) -> dict[str, Any]:
        row: dict[str, Any] = msgspec.to_builtins(conv)
        return row
