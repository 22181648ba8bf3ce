"""Which texts are most like one another, by the words that they share. Rare words count more than common ones.

The cosine of TF-IDF vectors, in which a word counts once however often a text has it. A sentence that a tenant puts into all of its
rows is in most texts, so it makes none of them alike.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Sequence

_WORD = re.compile(r"\w+")


class Likeness:
    """Texts by the words in them. Those with the very same words count as one, the first."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._words = [frozenset(_WORD.findall(text.lower())) for text in texts]
        self._first = sorted({words: place for place, words in reversed(list(enumerate(self._words)))}.values())
        found = Counter(word for place in self._first for word in self._words[place])
        self._weight = {word: math.log(len(self._first) / count) ** 2 for word, count in found.items()}
        self._length = [math.sqrt(self._of(words)) for words in self._words]

    def most_like(self, place: int, count: int) -> list[int]:
        """The places of the ``count`` texts that are most like the one at ``place``, the likest first.

        Fewer where fewer have a telling word in common with it.
        """
        words = self._words[place]
        others = (other for other in self._first if self._words[other] != words)
        near = ((self._of(words & self._words[other]) / (self._length[other] or 1), -other) for other in others)
        return [-other for share, other in heapq.nlargest(count, near) if share > 0]

    def _of(self, words: frozenset[str]) -> float:
        return sum(self._weight[word] for word in words)
