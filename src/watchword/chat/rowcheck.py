"""Can these rows be trained on with this model's template? Asked before anything is trained or written.

A row is rendered as training would. Plain rows differ in their words only, and a template takes these as they are. So a
row needs no rendering where the same order of turns has been rendered before. It is rendered all the same where it
holds a word that the template looks for.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from watchword.chat.render import render_row
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, Message, Row
from watchword.errors import DataError


class Turn(Protocol):
    """A plain turn, however it was decoded."""

    @property
    def role(self) -> str:
        """Who speaks."""


@dataclass(frozen=True)
class Looked:
    """What was found of one row: why it cannot be trained on, or what the template leaves out of it."""

    error: DataError | None = None
    dropped: tuple[str, ...] = ()


class RowCheck:
    """Rows of one model's format. ``max_length`` in tokens; None lets rows of any length through.

    ``every`` renders each row, whatever is known of rows like it.
    """

    def __init__(self, template: ChatTemplate, max_length: int | None = None, *, every: bool = False) -> None:
        self.template, self.max_length, self.every = template, max_length, every
        self._fine: set[tuple[str, ...]] = set()
        self._sought = tuple(form for word in template.sought_words for form in _json_forms(word))

    def look(self, conv: Conversation) -> Looked:
        """Renders the row unless its kind is known to be fine."""
        order = self._order(conv) if self._may_know else None
        if order in self._fine:
            return Looked()
        looked = self._rendered(conv)
        if order is not None and looked.error is None:
            self._fine.add(order)
        return looked

    def _rendered(self, conv: Conversation) -> Looked:
        try:
            return Looked(dropped=render_row(Row(conv), None, self.template, self.max_length).dropped)
        except DataError as error:
            return Looked(error=error)

    def surely_fine(self, lines: bytes, rows: Sequence[Sequence[Turn]]) -> bool:
        """A quick yes for plain rows (see ``data.fast``) at once; ``lines`` are the bytes that they were decoded from."""
        if not self._may_know or any(word in lines for word in self._sought):
            return False
        return self._any_order or self._alternate(rows)

    @functools.cached_property
    def _any_order(self) -> bool:
        """Whether the template takes turns in any order, so that their order need not be looked at."""
        talks = [roles for count in range(3) for roles in itertools.product(("user", "assistant"), repeat=count)]
        rows = [(*front, *talk, "assistant") for front in ((), ("system",)) for talk in talks]
        return all(self._rendered(_numbered(roles)) == Looked() for roles in rows)

    def _alternate(self, rows: Sequence[Sequence[Turn]]) -> bool:
        """Whether user and assistant take turns in every row.

        Each row ends with an answer and has a system text in front only, so all rows may be looked at as one talk.
        """
        roles = [turn.role for turns in rows for turn in turns if turn.role != "system"]
        half = len(roles) // 2
        return not len(roles) % 2 and roles[::2].count("user") == half == roles[1::2].count("assistant")

    @property
    def _may_know(self) -> bool:
        """Whether a row can be judged by others: not where each is to be rendered, or is written otherwise than it is."""
        return not self.every and self.max_length is None and self.template.abilities.alternating

    def _order(self, conv: Conversation) -> tuple[str, ...] | None:
        """The roles of a plain row in their order; None for a row that is not plain, or holds what the template looks for."""
        if conv.tools or not all(map(_plain, conv.messages)):
            return None
        words = self.template.sought_words
        if words and any(word in message.text for message in conv.messages for word in words):
            return None
        return tuple(message.role for message in conv.messages)


def _numbered(roles: Sequence[str]) -> Conversation:
    return Conversation(messages=tuple(Message(role=role, content=f"QQ{at}QQ") for at, role in enumerate(roles)))


def _plain(message: Message) -> bool:
    return not (message.tool_calls or message.tool_call_id or message.name or message.reasoning_content)


def _json_forms(word: str) -> Iterator[bytes]:
    """The word as JSON may hold it; of escapes that could spell it in yet another way, the beginning."""
    for text in {json.dumps(word)[1:-1], json.dumps(word, ensure_ascii=False)[1:-1]}:
        yield text.encode()
        yield text.replace("/", "\\/").encode()
    yield b"\\u00"
