"""Answers that repeat: identical ones by fingerprint, nearly identical ones by a short signature of their phrases."""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from watchword.chat.types import Conversation
from watchword.guarding.screening.sketch import fingerprint

_SPACES, _DIGITS, _WORD = re.compile(r"[\W_]+"), re.compile(r"\d+"), re.compile(r"\w+")
# An answer of fewer words has too few phrases to be compared by; such answers repeat whole or not at all.
_WORDS = 6
# Words of an answer that are read for its signature, and the parts of a signature.
_READ, _PARTS = 200, 8
# Of the parts that two answers both have, the share that must be the same for them to be nearly identical.
_ALIKE = 0.5
# Signatures held at once; of those that were met once, the older half is forgotten when there are more.
_HELD = 20_000

Signature = tuple[int, ...]


class QuestionAndAnswer(NamedTuple):
    """One trained answer, with what was asked: the text before the conversation's first answer, and the last turn."""

    asked: str
    answer: str


def exchanges(conv: Conversation) -> Iterator[QuestionAndAnswer]:
    """Every trained answer that has words."""
    system, asked = conv.system or "", ""
    for message in conv.messages:
        if message.role != "assistant":
            asked = message.text
        elif message.trained and message.text.strip():
            yield QuestionAndAnswer(f"{system}\n{asked}" if system and asked != system else asked, message.text)


def whole(answer: str) -> int:
    """A fingerprint that case, spacing and punctuation do not change."""
    return fingerprint(_SPACES.sub(" ", answer.lower()).strip() or answer)


def phrases_of(answer: str) -> Signature | None:
    """The least hash of the answer's three-word phrases in each of eight classes; None for a short answer.

    Numbers are all alike. Two answers have an equal part about as often as they share phrases (one-permutation hashing,
    Li, Owen and Zhang 2012). A class without a phrase has -1.
    """
    words = list(itertools.islice(_words(answer), _READ))
    if len(words) < _WORDS:
        return None
    parts = [-1] * _PARTS
    for at in range(len(words) - 2):
        value = zlib.crc32(" ".join(words[at : at + 3]).encode("utf-8", "surrogatepass"))
        part = value % _PARTS
        if parts[part] < 0 or value < parts[part]:
            parts[part] = value
    return tuple(parts)


def _words(answer: str) -> Iterator[str]:
    return (found.group() for found in _WORD.finditer(_DIGITS.sub("0", answer.lower())))


class Leader(msgspec.Struct):
    """The first of some nearly identical answers; ``same`` of the ``rows`` have its very words."""

    signature: Signature
    words: int
    rows: int = 1
    same: int = 1


class Leaders:
    """Groups of nearly identical answers, each led by the first one met, in bounded memory."""

    def __init__(self) -> None:
        self._leaders: dict[int, Leader] = {}
        self._parts: dict[tuple[int, int], int] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._leaders)

    def add(self, signed: Signature, words: int) -> None:
        """Counts an answer to its group, or makes it the first of one. ``words``: its ``whole`` fingerprint."""
        found = self.find(signed)
        if found is not None:
            leader = self._leaders[found]
            leader.rows += 1
            leader.same += leader.words == words
            return
        if len(self._leaders) >= _HELD:
            self._forget()
        self._leaders[self._next] = Leader(signed, words)
        self._parts |= {(part, value): self._next for part, value in enumerate(signed) if value >= 0}
        self._next += 1

    def find(self, signed: Signature) -> int | None:
        """The group of an answer with this signature."""
        near = {self._parts.get((part, value)) for part, value in enumerate(signed) if value >= 0}
        alike = [
            number for number in near if number in self._leaders and _alike(self._leaders[number].signature, signed)
        ]
        return min(alike, default=None)

    def repeated(self, least: int, varied: float) -> dict[int, int]:
        """The sizes of groups of ``least`` answers or more, of which at most a share ``varied`` is the leader's very own."""
        return {
            number: leader.rows
            for number, leader in self._leaders.items()
            if leader.rows >= least and leader.same <= varied * leader.rows
        }

    def _forget(self) -> None:
        once = [number for number, leader in self._leaders.items() if leader.rows == 1]
        dropped = set(once[: max(len(once) // 2, 1)] or list(self._leaders)[:1])
        self._leaders = {number: leader for number, leader in self._leaders.items() if number not in dropped}
        self._parts = {part: number for part, number in self._parts.items() if number not in dropped}


def _alike(one: Signature, other: Signature) -> bool:
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a >= 0 or b >= 0]
    return sum(a == b for a, b in pairs) >= _ALIKE * len(pairs)
