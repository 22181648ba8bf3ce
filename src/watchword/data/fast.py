"""Many plain rows at once: a quick yes for a stretch of a file, so that validation keeps up with the disk.

A yes means that ``parse`` takes every one of these lines, and that ASCII letters stand in them as themselves. Anything
else (tools, parts, odd spacing, a fault) means: ask ``parse``, which knows why. The rules stay in ``rules`` and
``shape``; a property test holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any, Literal

import msgspec

_START = b'{"messages"'


class PlainMessage(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A turn of text by somebody who needs no further keys."""

    role: Literal["system", "user", "assistant"]
    content: Annotated[str, msgspec.Meta(min_length=1)]


class WeightedMessage(PlainMessage, forbid_unknown_fields=True, gc=False):
    """A turn that may say whether it is trained."""

    weight: Literal[0, 1] | None = None


class PlainRow(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A row of plain turns; mutable only because msgspec makes mutable structs faster."""

    messages: Annotated[list[PlainMessage], msgspec.Meta(min_length=1)]


class WeightedRow(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A row in which a turn may have a weight."""

    messages: Annotated[list[WeightedMessage], msgspec.Meta(min_length=1)]


_PLAIN, _WEIGHTED = msgspec.json.Decoder(PlainRow), msgspec.json.Decoder(WeightedRow)
_MESSAGES, _CONTENT, _ROLE = attrgetter("messages"), attrgetter("content"), attrgetter("role")
# NUL, and ASCII letters as an escape writes them: a key or a secret could hide so.
_ESCAPED = re.compile(rb"\\u00(?:00|[4-7])")


def plain_rows(lines: bytes) -> list[list[PlainMessage]] | None:
    """The turns of each of whole lines, each ended by a newline, if all are certainly valid and plain; else None."""
    count = lines.count(b"\n")
    if not lines.startswith(_START) or lines.count(b"\n" + _START) != count - 1:
        return None
    rows, weighted = _decoded(_PLAIN, lines), False
    if rows is None:
        rows, weighted = _decoded(_WEIGHTED, lines), True
    # Each line begins a row (a turn holds no "messages", so none of these starts is inside one); as many rows as lines
    # then means one row a line.
    if rows is None or len(rows) != count:
        return None
    turns = list(chain.from_iterable(rows))
    fine = _roles_fine(rows, turns) and _texts_fine(lines, turns) and _no_key_twice(lines, len(turns))
    return rows if fine and (not weighted or _weights_fine(lines, rows)) else None


def untrained(rows: Sequence[Sequence[PlainMessage]]) -> int:
    """How many of these rows have a turn of weight 0."""
    if not rows or not isinstance(rows[0][0], WeightedMessage):
        return 0
    return sum(any(getattr(turn, "weight", None) == 0 for turn in turns) for turns in rows)


def system_of(turns: Sequence[PlainMessage]) -> str | None:
    """The text of a leading system message."""
    first = turns[0]
    return first.content if first.role == "system" else None


def _decoded(decoder: msgspec.json.Decoder[Any], lines: bytes) -> list[list[PlainMessage]] | None:
    try:
        return list(map(_MESSAGES, decoder.decode_lines(lines)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _no_key_twice(lines: bytes, turns: int) -> bool:
    """Whether each turn names its two keys once; without them, decoding had failed, and escapes hide none.

    A second "messages" would bring turns of its own, which are dropped and so not among ``spellings``.
    """
    return lines.count(b'"role"') == turns and lines.count(b'"content"') == turns


def _texts_fine(lines: bytes, turns: Sequence[PlainMessage]) -> bool:
    """Whether no text is blank or oddly escaped; half surrogates did not get through the decoder."""
    return not any(map(str.isspace, map(_CONTENT, turns))) and not _ESCAPED.search(lines)


def _roles_fine(rows: Sequence[Sequence[PlainMessage]], turns: Sequence[PlainMessage]) -> bool:
    """Whether system messages stand in front only and every row ends with an answer."""
    systems = [messages[0].role for messages in rows].count("system")
    if [messages[-1].role for messages in rows].count("assistant") != len(rows):
        return False
    return list(map(_ROLE, turns)).count("system") == systems


def _weights_fine(lines: bytes, rows: Sequence[Sequence[PlainMessage]]) -> bool:
    """Whether weights stand at answers only, none is named twice, and every row has an answer that is trained."""
    named = 0
    for turns in rows:
        weights = [(turn.role, getattr(turn, "weight", None)) for turn in turns]
        named += sum(weight is not None for _, weight in weights)
        if any(weight is not None and role != "assistant" for role, weight in weights):
            return False
        if not any(role == "assistant" and weight != 0 for role, weight in weights):
            return False
    return lines.count(b'"weight"') == named
