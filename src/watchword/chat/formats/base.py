"""What every row format is: a JSON object in, a Conversation out, and back."""

from __future__ import annotations

import abc
import functools
from collections.abc import Iterator
from typing import Any

from watchword.chat.fault import Fault, kind
from watchword.chat.types import Conversation
from watchword.errors import DataError
from watchword.registry import Registry


class RowFormat(abc.ABC):
    """One file in this package is one format. A format is known by keys that no other format has."""

    @abc.abstractmethod
    def detect(self, obj: dict[str, Any]) -> bool:
        """Whether a row has the keys that mark this format. It may still have faults."""

    @abc.abstractmethod
    def faults(self, obj: dict[str, Any]) -> Iterator[Fault]:
        """Every unknown key and wrong type of a row."""

    @abc.abstractmethod
    def build(self, obj: dict[str, Any]) -> Conversation:
        """The conversation of a row without faults."""

    @abc.abstractmethod
    def from_conversation(self, conv: Conversation) -> dict[str, Any]:
        """A row of this format. Raises DataError where the format cannot hold the conversation."""

    def to_conversation(self, obj: dict[str, Any]) -> Conversation:
        """The conversation of a row. Raises DataError with the first fault's field."""
        for fault in self.faults(obj):
            raise fault.error()
        return self.build(obj)


FORMATS: Registry[RowFormat] = Registry("row format", RowFormat, "watchword.chat.formats")  # type: ignore[type-abstract]


def format_of(obj: object) -> str | None:
    """The name of the format that a row has, or None."""
    if not isinstance(obj, dict):
        return None
    return next((name for name, row_format in _known().items() if row_format.detect(obj)), None)


@functools.cache
def _known() -> dict[str, RowFormat]:
    return {name: FORMATS.create(name) for name in FORMATS.names()}


def unknown_format(obj: object) -> Fault:
    """The fault of a row that no format claims."""
    if not isinstance(obj, dict):
        return Fault(f"a row must be an object, this is {kind(obj)}", 'write {"messages": [...]} on each line')
    keys = ", ".join(map(repr, list(obj)[:8])) or "no keys"
    return Fault(f"the row has no known format (its keys: {keys})", f"use one of {', '.join(_known())}")


def only_text(conv: Conversation, name: str) -> None:
    """Raises DataError where a conversation has what a plain-text format cannot hold."""
    held = {"tools": conv.tools, "parallel_tool_calls": conv.parallel_tool_calls}
    for index, message in enumerate(conv.messages):
        held[f"messages[{index}].tool_calls"] = message.tool_calls  # type: ignore[assignment]
        held[f"messages[{index}].name"] = message.name  # type: ignore[assignment]
        if message.role == "tool":
            raise DataError(f"{name} cannot hold a tool message; write the openai format", field=f"messages[{index}]")
    for field, value in held.items():
        if value is not None:
            raise DataError(f"{name} cannot hold this; write the openai format", field=field)
