"""The items of a response's output as they grow: its one message, and each of its calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from watchword.gateway.wire.ids import call_id, new_id


class OutputPart:
    """One item. ``texts`` are its texts by kind, in order; ``place`` is where it stands in the output.

    ``events`` says what the events of each kind of text are called, ``numbered`` whether they tell its number.
    """

    events: ClassVar[Mapping[str, str]]
    numbered: ClassVar[bool] = False

    def __init__(self, id_prefix: str) -> None:
        self.id, self.place = new_id(id_prefix), 0
        self.texts: dict[str, str] = {}

    def add(self, kind: str, text: str) -> None:
        """Lets a text grow."""
        self.texts[kind] = self.texts.get(kind, "") + text

    def has(self, kind: str) -> bool:
        """Whether a text of this kind has begun."""
        return kind in self.texts

    def at(self, kind: str) -> dict[str, Any]:
        """Where the text of an event belongs."""
        number = {"content_index": list(self.texts).index(kind)} if self.numbered else {}
        return {"item_id": self.id, "output_index": self.place, **number}

    def item(self, status: str) -> dict[str, Any]:
        """The item as far as it has grown."""
        raise NotImplementedError

    def begun(self) -> dict[str, Any]:
        """The item at its beginning."""
        return self.item("in_progress")


class MessagePart(OutputPart):
    """A message: of one text, one refusal, or both."""

    events: ClassVar[Mapping[str, str]] = {"text": "response.output_text", "refusal": "response.refusal"}
    numbered: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__("msg")

    def item(self, status: str) -> dict[str, Any]:
        """The message."""
        content = [self.part(kind, text) for kind, text in self.texts.items()]
        return {"id": self.id, "type": "message", "role": "assistant", "status": status, "content": content}

    def part(self, kind: str, text: str) -> dict[str, Any]:
        """One text as a part of the message's content."""
        if kind == "text":
            return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        return {"type": "refusal", "refusal": text}


class CallPart(OutputPart):
    """A call of one of the tenant's functions."""

    events: ClassVar[Mapping[str, str]] = {"arguments": "response.function_call_arguments"}

    def __init__(self, name: str) -> None:
        super().__init__("fc")
        self._name, self._call_id = name, call_id()
        self.add("arguments", "")

    def item(self, status: str) -> dict[str, Any]:
        """The call."""
        return {
            "id": self.id,
            "type": "function_call",
            "status": status,
            "call_id": self._call_id,
            "name": self._name,
            "arguments": self.texts["arguments"],
        }
