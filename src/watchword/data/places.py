"""Where the parts of a conversation stand in the tenant's own row, so that a message names the file's fields, not ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_MESSAGE = re.compile(r"messages\[(\d+)\](?:\.(.*))?", re.DOTALL)
_HEAD = re.compile(r"[^.\[]*")
_CALL = re.compile(r"tool_calls\[(\d+)\]")
NO_NAMES: Mapping[str, str] = {}


@dataclass(frozen=True)
class Place:
    """Where one message comes from: a turn (``conversations[1]``), or with ``names`` None one field (``output``).

    ``names``: our key → the file's, where they differ. ``calls``: the fields of calls that are turns of their own.
    """

    field: str
    names: Mapping[str, str] | None = None
    calls: tuple[str, ...] = ()

    def field_of(self, rest: str) -> str:
        """The file's name for what stands at ``rest`` of the message."""
        call = _CALL.match(rest)
        if call and int(call[1]) < len(self.calls):
            return self.calls[int(call[1])]
        if rest == "tool_calls" and self.calls:
            return self.calls[0]
        if self.names is None or not rest:
            return self.field
        head = _HEAD.match(rest)
        key = head[0] if head else rest
        return f"{self.field}.{self.names.get(key, key)}{rest[len(key) :]}"


@dataclass
class Places:
    """``columns``: our column → the file's, where they differ; ``messages``: the place of each message, in order."""

    columns: dict[str, str] = field(default_factory=dict)
    messages: list[Place] = field(default_factory=list)

    def field_of(self, ours: str | None) -> str | None:
        """The file's name of one of our fields, such as ``messages[1].content``."""
        if ours is None:
            return None
        found = _MESSAGE.fullmatch(ours)
        if found and int(found[1]) < len(self.messages):
            return self.messages[int(found[1])].field_of(found[2] or "")
        head = _HEAD.match(ours)
        column = head[0] if head else ours
        return self.columns.get(column, column) + ours[len(column) :]
