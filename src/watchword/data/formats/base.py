"""What every row format is: a JSON object in, a Conversation out, and back."""

from __future__ import annotations

import abc
import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import msgspec

from watchword.chat.fault import Fault, kind
from watchword.chat.types import Conversation
from watchword.data.places import Places
from watchword.data.remarks import Remark
from watchword.data.shape import LEAVE_OUT, conversation_of, shape_faults, unknown_columns
from watchword.data.unsupported import unsupported_alone
from watchword.errors import DataError
from watchword.registry import Registry


@dataclass
class Translation:
    """A row in OpenAI's shape (which may have faults of its own), where its parts stand in the file, and what is wrong."""

    row: dict[str, Any]
    places: Places
    faults: list[Fault] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)


@dataclass(frozen=True)
class RowRead:
    """A row as a Conversation, None where it has faults; ``rewritten`` where OpenAI's line for it is another than its own."""

    conversation: Conversation | None
    faults: list[Fault]
    places: Places
    remarks: list[Remark] = field(default_factory=list)
    rewritten: bool = True

    def fault(self, error: DataError, line: int) -> Fault:
        """What is wrong with the row once it is a Conversation, under the file's own name of the field."""
        found = Fault.of(error)
        return replace(found, line=line, field=self.places.field_of(found.field))


class RowFormat(abc.ABC):
    """One file in this package is one format, known by keys that no other format has.

    ``columns`` are the keys of its rows. Where a row has those of several formats, the one of lower ``rank`` is taken.
    """

    columns: ClassVar[tuple[str, ...]]
    rank: ClassVar[int] = 1

    @abc.abstractmethod
    def detect(self, obj: dict[str, Any]) -> bool:
        """Whether a row has the keys that mark this format. It may still have faults."""

    @abc.abstractmethod
    def translate(self, obj: dict[str, Any]) -> Translation:
        """The row in OpenAI's shape. What is wrong beyond repair is a fault, or is left as it is for ``shape`` to name."""

    @abc.abstractmethod
    def from_conversation(self, conv: Conversation) -> dict[str, Any]:
        """A row of this format. Raises DataError where the format cannot hold the conversation."""

    def read(self, obj: dict[str, Any]) -> RowRead:
        """The row with every unknown column and wrong type; faults name the fields of the file."""
        made = self.translate(obj)
        faults = [*unknown_columns(obj, self.columns), *made.faults]
        if not made.faults:
            known = {key: value for key, value in made.row.items() if key in Conversation.__struct_fields__}
            faults += _of_file(shape_faults(known), made.places)
        if faults:
            return RowRead(None, faults, made.places, made.remarks)
        rewritten = msgspec.json.encode(made.row) != msgspec.json.encode(obj)
        return RowRead(conversation_of(made.row), [], made.places, made.remarks, rewritten)

    def to_conversation(self, obj: dict[str, Any]) -> Conversation:
        """The conversation of a row. Raises DataError with the first fault's field."""
        found = self.read(obj)
        if found.conversation is None:
            raise found.faults[0].error()
        return found.conversation

    def field_of(self, field: str | None, obj: dict[str, Any]) -> str | None:
        """What the row calls one of our fields: ``messages[1].content`` is ``conversations[1].value`` in ShareGPT."""
        return self.translate(obj).places.field_of(field)


def _of_file(faults: Iterable[Fault], places: Places) -> Iterator[Fault]:
    """The faults under the file's own names; a key that many turns have too much is named once."""
    named: set[str] = set()
    for fault in faults:
        own = replace(fault, field=places.field_of(fault.field))
        if fault.fix == LEAVE_OUT:
            column = re.sub(r"\[\d+\]", "", own.field or "")
            if column in named:
                continue
            named.add(column)
            own = replace(own, fix=f"leave it out with `drop_columns={column}`")
        yield own


FORMATS: Registry[RowFormat] = Registry("row format", RowFormat, "watchword.data.formats")  # type: ignore[type-abstract]


def format_of(obj: object) -> str | None:
    """The name of the format that a row has, or None."""
    if not isinstance(obj, dict):
        return None
    return next((name for name, row_format in _known().items() if row_format.detect(obj)), None)


@functools.cache
def _known() -> dict[str, RowFormat]:
    made = {name: FORMATS.create(name) for name in FORMATS.names()}
    return dict(sorted(made.items(), key=lambda entry: entry[1].rank))


def unknown_format(obj: object) -> Fault:
    """The fault of a row that no format claims."""
    if not isinstance(obj, dict):
        return Fault(f"a row must be an object, this is {kind(obj)}", 'write {"messages": [...]} on each line')
    named = unsupported_alone(obj)
    if named is not None:
        return named
    keys = ", ".join(map(repr, list(obj)[:8])) or "no keys"
    return Fault(f"the row has no known format (its keys: {keys})", f"use one of {', '.join(_known())}")


def only_text(conv: Conversation, name: str) -> None:
    """Raises DataError where a conversation has what a plain-text format cannot hold."""
    held: dict[str, object] = {"tools": conv.tools, "parallel_tool_calls": conv.parallel_tool_calls}
    for index, message in enumerate(conv.messages):
        for key in ("tool_calls", "name", "reasoning_content"):
            held[f"messages[{index}].{key}"] = getattr(message, key)
        if message.role == "tool":
            raise DataError(f"{name} cannot hold a tool message; write the openai format", field=f"messages[{index}]")
    for place, value in held.items():
        if value is not None:
            raise DataError(f"{name} cannot hold this; write the openai format", field=place)
