"""Counts in bounded memory: of texts by fingerprint, and of words by a table of counters."""

from __future__ import annotations

import hashlib
import sys
import zlib
from array import array
from collections.abc import Iterable

# Two tables of so many counters, 8 MB each; a word's places are the low and the high bits of its check sum.
# At a million different words a count is too high by one or two.
_BITS = 21
_WIDTH, _MASK, _SHIFT = 1 << _BITS, (1 << _BITS) - 1, 32 - _BITS


def fingerprint(text: str) -> int:
    """Eight bytes that stand for a text; two texts share them by chance once in 2**64 pairs."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, sys.byteorder)


class Prints:
    """Fingerprints of texts, 8 bytes each, to count repetitions."""

    def __init__(self) -> None:
        self._prints = array("Q")

    def add(self, print_: int) -> None:
        """Takes the fingerprint of one text."""
        self._prints.append(print_)

    def repeated(self) -> int:
        """How many of the texts had been there before."""
        return sum(count - 1 for count in self.frequent(2, None).values())

    def frequent(self, least: int, most: int | None) -> dict[int, int]:
        """Fingerprints that occur ``least`` times or more, with their counts; the ``most`` frequent of them."""
        import numpy as np

        prints, counts = np.unique(np.frombuffer(self._prints, dtype=np.uint64), return_counts=True)
        places = np.flatnonzero(counts >= least)
        places = places[np.argsort(-counts[places], kind="stable")][:most]
        return dict(zip(prints[places].tolist(), counts[places].tolist(), strict=True))


class WordCounts:
    """A count-min sketch: how often each word was added, never too low and seldom too high.

    Source: Cormode and Muthukrishnan, "An improved data stream summary: the count-min sketch", J. Algorithms 55 (2005).
    """

    def __init__(self) -> None:
        self._low, self._high = (array("I", bytes(4 * _WIDTH)) for _ in range(2))

    def add(self, words: Iterable[str]) -> None:
        """Counts each word once more."""
        low, high = self._low, self._high
        for word in words:
            print_ = _crc(word)
            low[print_ & _MASK] += 1
            high[print_ >> _SHIFT] += 1

    def count(self, word: str) -> int:
        """How often it was added, at least."""
        print_ = _crc(word)
        return min(self._low[print_ & _MASK], self._high[print_ >> _SHIFT])


def _crc(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "surrogatepass"))
