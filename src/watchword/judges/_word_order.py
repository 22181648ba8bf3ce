"""Word salad: well-spelt English words in an order that no sentence has.

It has two signs that ordinary text lacks. One is pairs of small words that do not stand side by side ("the of", "to
is"). The other is long runs of known words with hardly a small word among them. Either needs several small words, or
many words, so salad of a line or less is not found. Measured in results/LOG.md.
"""

from __future__ import annotations

import functools
import itertools
import re

from watchword.safety.library import WORKING_SPLITS, examples


def _all(words: str, between: str | None = None) -> frozenset[str]:
    return frozenset(words.split(between))


_ARTICLES = _all("the a an my your our their its every")
_PREPOSITIONS = _all("of in on at by for from with into about between through during")
_BE = _all("is are was were be been am has have had does did")
_MODAL = _all("will would could should may might must")
_JOINING = _all("and or but because if than")
_SUBJECTS = _all("i he she they we")
_OTHER = _all(
    "to not no that this these those it you me him her us them there here what which who when where why how all any some "
    "more most can do so then also as too only just one two"
)
_SMALL = _ARTICLES | _PREPOSITIONS | _BE | _MODAL | _JOINING | _SUBJECTS | _OTHER
# What ordinary text has after all: "a will", "log in and", "the by-law", "made of is", "what it stands for is".
_ALLOWED = _all(
    "a will,my will,your will,the will,their will,our will,its will,the must,a must,the might,my might,the through,the in,"
    "the on,the by,in of,on of,by and,about and,through and,on and,in and,with and,into and,on is,in is,for is,with is,from is,"
    "of is,with are,from are,from was,on or,in or",
    ",",
)
# Words that are read, how many such pairs make a salad, and the run of words in which two small ones are expected.
_READ, _PAIRS, _RUN = 60, 2, 14
# Of a run without small words, the share that must be words of the packaged examples: other languages have none of either.
_KNOWN = 0.5
_TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[^\w\s]")
_PAUSE = re.compile(r"[^\w\s'-]|\n|\d")


def senseless(text: str) -> bool:
    """Whether a plain text is a jumble of words."""
    tokens = _TOKEN.findall(text)[:_READ]
    pairs = sum(f"{one} {other}" in _never() for one, other in itertools.pairwise(tokens))
    return pairs >= _PAIRS or any(map(_bare, _PAUSE.split(text[: 10 * _READ])))


def _bare(part: str) -> bool:
    words = part.split()
    runs = (words[at : at + _RUN] for at in range(len(words) - _RUN + 1))
    return any(
        sum(word in _SMALL for word in run) < 2 and sum(word in _vocabulary() for word in run) >= _KNOWN * _RUN
        for run in runs
    )


@functools.cache
def _never() -> frozenset[str]:
    """Pairs of small words that English does not have."""
    pairs = [
        (_ARTICLES, (_SMALL - _OTHER) | _all("to not that this it you there")),
        (_PREPOSITIONS, _all("is are was were am of and or") | _SUBJECTS | _MODAL),
        ({"to"}, _all("is are was were am and of to has had will could would") | _SUBJECTS),
        ({"and", "or"}, {"and", "or", "of"}),
        (
            _all("is are was were"),
            _all("is are was were will would could should has have had does did and or"),
        ),
    ]
    found = {f"{one} {other}" for first, second in pairs for one in first for other in second}
    twice = (_SMALL - _OTHER - {"had", "in", "on"} - _MODAL) | {"to"}
    return frozenset(found | {f"{word} {word}" for word in twice}) - _ALLOWED


@functools.cache
def _vocabulary() -> frozenset[str]:
    """The words of the packaged examples, without those that may decide nothing."""
    texts = (f"{row.prompt} {row.answer or ''}" for split in WORKING_SPLITS for row in examples(split))
    return frozenset(word for text in texts for word in re.findall(r"[a-z']+", text.lower()))
