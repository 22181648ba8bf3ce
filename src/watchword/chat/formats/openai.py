"""OpenAI's chat format: ``{"messages": [{"role": …, "content": …}, …], "tools": […]}``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from watchword.chat.fault import Fault
from watchword.chat.formats.base import RowFormat
from watchword.chat.shape import conversation_of, shape_faults
from watchword.chat.types import Conversation


class OpenAIChat(RowFormat):
    def detect(self, obj: dict[str, Any]) -> bool:
        return "messages" in obj

    def faults(self, obj: dict[str, Any]) -> Iterator[Fault]:
        return shape_faults(obj)

    def build(self, obj: dict[str, Any]) -> Conversation:
        return conversation_of(obj)

    def from_conversation(self, conv: Conversation) -> dict[str, Any]:
        row: dict[str, Any] = msgspec.to_builtins(conv)
        return row
