"""Rows as the screening report shows them: their texts, cut to a length that a person reads and that memory holds."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from watchword.chat.types import Conversation, Message

# Characters of a row and turns of it that are shown at most.
CHARACTERS, TURNS = 2_000, 12
# Of a text that is cut, the share that its beginning gets, and its end.
_BEGINNING, _END = 0.5, 0.25


class MarkedText(msgspec.Struct, frozen=True):
    """A stretch of a text, from the character ``at`` on."""

    at: int
    text: str


class ShownTurn(msgspec.Struct, frozen=True):
    """One turn. ``characters`` is the length of its whole text, of which ``pieces`` are shown."""

    role: str
    characters: int
    pieces: list[MarkedText]


class ShownRow(msgspec.Struct, frozen=True):
    """One row of the file. ``left_out`` turns in its middle are not shown."""

    line: int
    turns: list[ShownTurn]
    left_out: int = 0


def shown_row(line: int, conv: Conversation, patterns: Sequence[re.Pattern[str]]) -> ShownRow:
    """At most 2,000 characters of a row; of a text that is cut, its ends and the first match of each pattern stay."""
    turns = _ends(conv.messages)
    texts = [_said(turn) for turn in turns]
    rooms = _rooms([len(text) for text in texts])
    made = [
        ShownTurn(turn.role[:40], len(text), _pieces(text, room, patterns))
        for turn, text, room in zip(turns, texts, rooms, strict=True)
    ]
    return ShownRow(line, made, len(conv.messages) - len(turns))


def _ends(messages: Sequence[Message]) -> Sequence[Message]:
    if len(messages) <= TURNS:
        return messages
    return [*messages[: TURNS // 2], *messages[-(TURNS // 2) :]]


def _said(turn: Message) -> str:
    """What a turn says, and under it the calls that it makes."""
    calls = (f"{call.function.name}({call.function.arguments})" for call in turn.tool_calls or ())
    return "\n".join(part for part in (turn.text, *calls) if part)


def _rooms(lengths: Sequence[int]) -> list[int]:
    """How much of each text is shown: short ones whole, and what they leave is shared by the long ones."""
    rooms, left = dict[int, int](), CHARACTERS
    for done, place in enumerate(sorted(range(len(lengths)), key=lambda place: lengths[place])):
        rooms[place] = min(lengths[place], left // (len(lengths) - done))
        left -= rooms[place]
    return [rooms[place] for place in range(len(lengths))]


def _pieces(text: str, room: int, patterns: Sequence[re.Pattern[str]]) -> list[MarkedText]:
    if len(text) <= room:
        return [MarkedText(0, text)]
    begin, tail = int(room * _BEGINNING), int(room * _END)
    end = len(text) - tail
    found = [match for pattern in patterns if (match := pattern.search(text))]
    hidden = [match for match in found if match.end() > begin and match.start() < end]
    middle = room - begin - tail
    if not hidden:
        begin += middle
    around = [_around(*match.span(), middle // len(hidden)) for match in hidden]
    return [MarkedText(start, text[start:stop]) for start, stop in _apart([(0, begin), *around, (end, len(text))])]


def _around(start: int, stop: int, room: int) -> tuple[int, int]:
    """A stretch of ``room`` characters with a match in its middle."""
    before = max(start - max(room - (stop - start), 0) // 2, 0)
    return before, before + room


def _apart(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The stretches in order; those that overlap become one."""
    apart: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if apart and start <= apart[-1][1]:
            apart[-1] = (apart[-1][0], max(stop, apart[-1][1]))
        else:
            apart.append((start, stop))
    return apart
