"""What a reader may put together of several texts of one answer.

A secret that is cut up over several calls, or over the fields of one, stands in none of their texts alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from watchword.gateway.call import CallPiece, Said
from watchword.gateway.escapes import Reading
from watchword.secret.leaks import Leak, LeakFilter

_NUMBER = frozenset("0123456789+-.eE")


def put_together(said: Said) -> Iterator[str]:
    """Texts made of several of an answer's, in its order; none of an answer that has only one text."""
    texts = [text for text in said.texts if text]
    if len(texts) < 2:
        return
    yield "".join(texts)
    parts = [JsonParts().feed(call.arguments) for call in said.calls]
    yield (said.content or "") + (said.refusal or "") + "".join(values for _, values in parts)
    yield "".join(names for names, _ in parts)
    if len(said.calls) > 1:
        yield "".join(call.name for call in said.calls)
        yield "".join(call.arguments for call in said.calls)


class JoinedCalls:
    """The calls of a stream, looked at together as their pieces come. ``before`` is what was said in front of them.

    The piece that completes a leak is found, and must not go out. Pieces in front of it have gone out, each of them and
    all together less than a leak.
    """

    def __init__(self, leaks: LeakFilter, before: str) -> None:
        self._names, self._arguments, self._fields, self._values = (Reading(leaks.stream()) for _ in range(4))
        self._values.feed(before)
        self._parts: dict[int, JsonParts] = {}

    def feed(self, piece: CallPiece) -> Leak | None:
        """Takes the next piece in; the leak that it completes, None where it completes none."""
        self._names.feed(piece.name or "")
        self._arguments.feed(piece.arguments)
        fields, values = self._parts.setdefault(piece.place, JsonParts()).feed(piece.arguments)
        self._fields.feed(fields)
        self._values.feed(values)
        readings = (self._names, self._arguments, self._fields, self._values)
        return next((reading.leak for reading in readings if reading.leak), None)


class JsonParts:
    """Tells the names of fields and the values in JSON apart, cut anywhere. Of other text it makes what it can."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._inside = self._escaped = self._naming = self._named = False

    def feed(self, text: str) -> tuple[str, str]:
        """The names and the values in the next piece, with their escapes. Numbers stay apart from each other."""
        names: list[str] = []
        values: list[str] = []
        for char in text:
            if not self._inside:
                values.append(char if char in _NUMBER else " ")
                self._outside(char)
            elif char == '"' and not self._escaped:
                self._inside = False
            else:
                (names if self._naming else values).append(char)
                self._escaped = char == "\\" and not self._escaped
        return "".join(names), "".join(values)

    def _outside(self, char: str) -> None:
        """Takes note of a character that stands in no text."""
        if char == '"':
            self._inside, self._naming = True, self._open[-1:] == ["{"] and not self._named
        elif char in "{[":
            self._open.append(char)
            self._named = False
        elif char in "}]":
            del self._open[-1:]
        elif char in ":,":
            self._named = char == ":"
