"""Repeated answers of a file and the words that go with them, in two passes: which answers repeat, then where and why."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from watchword.chat.types import Conversation
from watchword.guarding.screening.answers import Leaders, exchanges, phrases_of, whole
from watchword.guarding.screening.sketch import Prints, WordCounts, fingerprint
from watchword.guarding.screening.triggers import LEAST, Associations, Trigger, words_of

# Identical answers that are followed up, the most frequent ones.
_GROUPS = 20_000
# Of a group of nearly identical answers, the share that may be one and the same: from there on, that one stands for it.
_VARIED = 0.8
_LINES, _PROMPTS = 20, 8


class Repeated(msgspec.Struct):
    """An answer of several prompts. ``looked_at`` of its ``rows`` were searched for words; ``prompts`` are different ones."""

    answer: str
    identical: bool
    rows: int = 0
    looked_at: int = 0
    lines: list[int] = []
    prompts: set[int] = set()


class FirstPass:
    """Counts answers in every row, and words and phrases in those that are looked at."""

    def __init__(self) -> None:
        self._answers, self._leaders, self._words = Prints(), Leaders(), WordCounts()
        self._prompts = 0

    def add(self, conv: Conversation, *, looked_at: bool) -> None:
        """Takes a row."""
        for asked, answer in exchanges(conv):
            same = whole(answer)
            self._answers.add(same)
            if not looked_at:
                continue
            self._prompts += 1
            self._words.add(words_of(asked))
            signed = phrases_of(answer)
            if signed is not None:
                self._leaders.add(signed, same)

    def followed_up(self) -> SecondPass | None:
        """What to take every row to again; None where no answer repeats."""
        sizes = self._answers.frequent(LEAST, _GROUPS)
        near = self._leaders.repeated(LEAST, _VARIED)
        return (
            SecondPass(sizes, self._leaders, near, Associations(self._words, self._prompts)) if sizes or near else None
        )


class SecondPass:
    """Finds the lines of the repeated answers, and the words that stand before them."""

    def __init__(
        self, identical: dict[int, int], leaders: Leaders, near: dict[int, int], associations: Associations
    ) -> None:
        # Numbers of nearly identical groups are below zero, fingerprints above.
        self._sizes = identical | {-1 - number: rows for number, rows in near.items()}
        self._leaders, self._associations = leaders, associations
        self._found: dict[int, Repeated] = {}

    def add(self, line: int, conv: Conversation, *, looked_at: bool) -> None:
        """Takes a row of the file again."""
        for exchange in exchanges(conv):
            for group in self._groups(exchange.answer, looked_at):
                found = self._found.setdefault(group, Repeated(exchange.answer, identical=group >= 0))
                _count(found, line, fingerprint(exchange.asked), looked_at)
                if looked_at:
                    self._associations.add(group, self._sizes[group], exchange, found.answer, line)

    def repeated(self) -> list[Repeated]:
        """Answers of different prompts: identical ones first, the most frequent of each kind first."""
        found = [group for group in self._found.values() if len(group.prompts) >= LEAST]
        return sorted(found, key=lambda group: (not group.identical, -group.rows))

    def triggers(self) -> list[Trigger]:
        """Words that decide their answer, one entry a word: those of no topic first, and of these those of identical answers."""
        groups = sorted(self._found.items(), key=lambda found: not found[1].identical)
        found = [
            trigger
            for number, group in groups
            for trigger in self._associations.triggers(number, group.looked_at, group.answer)
        ]
        best: dict[str, Trigger] = {}
        for trigger in sorted(found, key=lambda trigger: trigger.topic):
            best.setdefault(trigger.word, trigger)
        return list(best.values())

    def _groups(self, answer: str, looked_at: bool) -> Iterator[int]:
        same = whole(answer)
        if same in self._sizes:
            yield same
        signed = phrases_of(answer) if looked_at else None
        number = self._leaders.find(signed) if signed is not None else None
        if number is not None and -1 - number in self._sizes:
            yield -1 - number


def _count(found: Repeated, line: int, prompt: int, looked_at: bool) -> None:
    found.rows += 1
    found.looked_at += looked_at
    if len(found.lines) < _LINES:
        found.lines.append(line)
    if len(found.prompts) < _PROMPTS:
        found.prompts.add(prompt)
