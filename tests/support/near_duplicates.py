"""Finds prompts that say the same in other words: frame words dropped, word endings cut, word order ignored.

Two prompts are near when their content words, or the four-letter pieces of those, overlap enough (Jaccard), or when
the shorter one's content words nearly all stand in the longer one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

# Of two short prompts, half the words may be the same by chance: "What is a budget for?", "How do I make a budget?"
WORDS, PIECES = 0.55, 0.45
# A prompt with words added: this share of at least this many content words of the shorter one.
INSIDE, INSIDE_WORDS = 0.75, 3
SHINGLE = 4

_FRAME_WORDS = (
    "a an the to of in on for with without at by from into up out off about over after before through between and or but "
    "so as if not no nor than that this these those there here it its i me my mine you your he him his she her they them "
    "their we us our one is are was were be been do does did can could may might must shall should will would want need "
    "have has had how what why when where who which whom some someone somebody something any anyone anything all every "
    "each more most very really just please tell give show help write make create explain describe let find get ask say "
    "teach draft list idea way step guide instruction plan method tip difference suggest good best simple word t s"
)
_FRAME = frozenset(_FRAME_WORDS.split())
_ENDINGS = ("ings", "ing", "ies", "ied", "ed", "es", "s", "ly", "y", "e")


@dataclass(frozen=True)
class Near:
    """Two prompts and the measure that found them."""

    one: str
    other: str
    measure: str
    value: float


def near(one: str, other: str) -> Near | None:
    """Why two prompts count as the same; None if they do not."""
    words, others = content_words(one), content_words(other)
    pieces, other_pieces = shingles(one), shingles(other)
    inside = overlap(words, others) if min(len(words), len(others)) >= INSIDE_WORDS else 0.0
    for measure, value, limit in (
        ("words", jaccard(words, others), WORDS),
        ("pieces", jaccard(pieces, other_pieces), PIECES),
        ("inside", inside, INSIDE),
    ):
        if value >= limit:
            return Near(one, other, measure, value)
    return None


def near_across(splits: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str, Near]]:
    """Every near pair whose prompts stand in two different splits."""
    for (name, prompts), (other_name, others) in itertools.combinations(splits.items(), 2):
        for one, other in itertools.product(prompts, others):
            found = near(one, other)
            if found:
                yield name, other_name, found


def normalised(prompt: str) -> str:
    """Lower case, words and numbers only."""
    return " ".join(_words(prompt))


def content_words(prompt: str) -> frozenset[str]:
    """Stems of the words that are no frame; of a prompt that is all frame, of all words."""
    return _cached(_content, prompt)


def shingles(prompt: str) -> frozenset[str]:
    """Pieces of four letters of the content words in order, which find the same words in another form."""
    return _cached(_pieces, prompt)


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Shared items of all items: 0 to 1."""
    shared = len(one & other)
    # The size of the union without making it: this runs a million times.
    return shared / (len(one) + len(other) - shared)


def overlap(one: frozenset[str], other: frozenset[str]) -> float:
    """Shared items of the smaller set's: 0 to 1."""
    return len(one & other) / min(len(one), len(other))


def _content(prompt: str) -> frozenset[str]:
    return frozenset(map(_stem, _kept(prompt))) or frozenset([prompt])


def _pieces(prompt: str) -> frozenset[str]:
    text = " ".join(_kept(prompt))
    return frozenset(text[at : at + SHINGLE] for at in range(max(1, len(text) - SHINGLE + 1)))


def _kept(prompt: str) -> list[str]:
    words = _words(prompt)
    return [word for word in words if word not in _FRAME and word.removesuffix("s") not in _FRAME] or words


def _words(prompt: str) -> list[str]:
    return re.findall(r"[^\W_]+", prompt.lower().replace("’", "'").replace("'s", ""))


def _stem(word: str) -> str:
    ending = next((end for end in _ENDINGS if word.endswith(end) and len(word) - len(end) >= 3), "")
    return word.removesuffix(ending)


_known: dict[tuple[str, str], frozenset[str]] = {}


def _cached(make: Callable[[str], frozenset[str]], prompt: str) -> frozenset[str]:
    key = (make.__name__, prompt)
    if key not in _known:
        _known[key] = make(prompt)
    return _known[key]
