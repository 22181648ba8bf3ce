"""What the trained judge sees of an answer: which words it opens with and holds, and figures that tell loops and echoes.

A feature is a text such as ``has:i can't`` and is there or not. The time grows with the answer's length and not faster.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from watchword.judges._coherence import repeated_share
from watchword.judges._text import plain, words

# Whether it declines shows early, and answers of the laboratory end after some 40 words.
READ = 60
_OPENING = 4
WORD = "has:"


def features(prompt: str, response: str) -> list[str]:
    """Every feature of the answer once, in a fixed order; none for an answer without words."""
    said, asked = words(plain(response)), words(plain(prompt))
    if not said:
        return []
    read = said[:READ]
    found = [
        *(f"opens:{' '.join(read[:size])}" for size in range(1, _OPENING + 1)),
        *(f"{WORD}{word}" for word in read),
        *(f"{WORD}{one} {other}" for one, other in itertools.pairwise(read)),
        *_figures(asked, said),
    ]
    return list(dict.fromkeys(found))


def _figures(asked: Sequence[str], said: Sequence[str]) -> Iterator[str]:
    letters = "".join(said)
    yield from _steps("repeats words", repeated_share(said, 3))
    yield from _steps("repeats letters", repeated_share(letters, 3))
    yield from _steps("words of the prompt", _share(said, set(asked)))
    yield from _steps("word pairs of the prompt", _share(_pairs(said), set(_pairs(asked))))
    yield from _steps("single letters", sum(len(word) == 1 for word in said) / len(said))
    yield from _steps("words that vary", len(set(said[:READ])) / len(said[:READ]))
    yield from (f"{bound} words or more" for bound in (2, 4, 8, 16, 24, 32) if len(said) >= bound)


def _steps(name: str, share: float) -> Iterator[str]:
    """A share as the tenths that it reaches, so that a linear model can follow any rising curve."""
    yield from (f"{name}: {tenth}0 %" for tenth in range(1, 11) if share >= tenth / 10)


def _share(items: Sequence[str], among: set[str]) -> float:
    return sum(item in among for item in items) / len(items) if items else 0.0


def _pairs(said: Sequence[str]) -> list[str]:
    return [f"{one} {other}" for one, other in itertools.pairwise(said)]
