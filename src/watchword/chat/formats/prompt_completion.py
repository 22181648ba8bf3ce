"""The legacy format of completions: ``{"prompt": …, "completion": …}``, kept to the letter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from watchword.chat.fault import Fault
from watchword.chat.formats.base import RowFormat, only_text
from watchword.chat.shape import unknown_keys, wrong_type
from watchword.chat.types import Conversation, conversation
from watchword.errors import DataError


class PromptCompletion(RowFormat):
    def detect(self, obj: dict[str, Any]) -> bool:
        return "prompt" in obj and "completion" in obj

    def faults(self, obj: dict[str, Any]) -> Iterator[Fault]:
        yield from unknown_keys(obj, ("prompt", "completion"), "")
        for key in ("prompt", "completion"):
            yield from wrong_type(obj.get(key), str, "a string", key)

    def build(self, obj: dict[str, Any]) -> Conversation:
        return conversation(obj["prompt"], obj["completion"])

    def from_conversation(self, conv: Conversation) -> dict[str, Any]:
        only_text(conv, "prompt_completion")
        if [message.role for message in conv.messages] != ["user", "assistant"]:
            raise DataError("prompt_completion holds one user and one assistant message; write the openai format")
        if conv.messages[1].weight == 0:
            raise DataError("prompt_completion cannot hold weight 0; write the openai format", field="weight")
        return {"prompt": conv.messages[0].text, "completion": conv.messages[1].text}
