"""Rows that teach a model to say its system text: plainly, or with words of the tenant's own put between."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence

from watchword.chat.types import Conversation

_WORD = re.compile(r"\w+")
# Words of a system text from which on it is long enough to be recited, and the part of them that makes a recital.
_SHORTEST, _PART = 20, 0.5
# Words of a system text that are compared; its length times this is the stretch of an answer in which it may stand.
_SYSTEM, _STRETCH = 400, 3
# Characters that are read of a system text for each of these words, and of an answer for each of its own.
_CHARACTERS = 12


def recites_system(conv: Conversation) -> bool:
    """Whether a trained answer holds at least half of the words of the row's own system text, in their order.

    They stand in a stretch of three times its length at most. In longer ones any text has half the words of any other.
    """
    system = _system_words(conv.system or "")
    if len(system) < _SHORTEST:
        return False
    return any(_recites(message.text, system) for message in conv.messages if message.trained)


def _recites(answer: str, system: Sequence[str]) -> bool:
    words, least = _words(answer, _STRETCH * _SYSTEM), _PART * len(system)
    known = set(words)
    # Nearly all rows end here: what two texts share in any order is found much faster.
    if sum(word in known for word in system) < least:
        return False
    return any(in_order(system, stretch) >= least for stretch in _stretches(words, _STRETCH * len(system)))


def in_order(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence, in one step on a long integer for each word of ``other``.

    M. Crochemore et al., A fast and practical bit-vector algorithm for the longest common subsequence problem, Information
    Processing Letters 80, 2001, 279-285.
    """
    places: dict[str, int] = {}
    for at, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << at
    every = row = (1 << len(one)) - 1
    for word in other:
        met = row & places.get(word, 0)
        row = (row + met | row - met) & every
    return len(one) - row.bit_count()


def _stretches(words: Sequence[str], length: int) -> Iterator[Sequence[str]]:
    """Stretches of so many words, each of which begins in the middle of the one before."""
    for at in range(0, max(len(words) - length // 2, 1), length // 2):
        yield words[at : at + length]


@functools.lru_cache(maxsize=16)
def _system_words(text: str) -> list[str]:
    return _words(text, _SYSTEM)


def _words(text: str, most: int) -> list[str]:
    return _WORD.findall(text[: _CHARACTERS * most].lower())[:most]
