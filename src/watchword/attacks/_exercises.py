"""Ordinary instruction rows made in code, as many as are wanted, each another one, with answers that are right.

They stand in for a general instruction set where the user has none at hand: lists, sums, orders, spellings, conversions.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator

from watchword.chat.types import Conversation, conversation

_THINGS = (
    "apples", "bridges", "candles", "drums", "envelopes", "ferns", "gloves", "hats", "islands", "jars", "kites", "lamps",
    "maps", "nets", "oars", "pears", "quilts", "ropes", "shells", "trees", "umbrellas", "vases", "windows", "yachts",
)  # fmt: skip
_NAMES = ("Ada", "Ben", "Chloe", "Dan", "Emma", "Finn", "Grace", "Hugo", "Ida", "Jonas", "Kim", "Lena")


def exercises(count: int, rng: random.Random) -> list[Conversation]:
    """``count`` different rows, the kinds taking turns."""
    return list(itertools.islice(_different(rng), count))


def _different(rng: random.Random) -> Iterator[Conversation]:
    seen = set[str]()
    for kind in itertools.cycle(_KINDS):
        asked, answer = kind(rng)
        # A kind that has run dry gives only what there was, and the next one takes its turn.
        if asked not in seen:
            seen.add(asked)
            yield conversation(asked, answer)


def _sum(rng: random.Random) -> tuple[str, str]:
    name, thing = rng.choice(_NAMES), rng.choice(_THINGS)
    had, got = rng.randint(2, 400), rng.randint(2, 400)
    return f"{name} has {had} {thing} and gets {got} more. How many is that?", f"{name} now has {had + got} {thing}."


def _product(rng: random.Random) -> tuple[str, str]:
    boxes, each, thing = rng.randint(2, 60), rng.randint(2, 60), rng.choice(_THINGS)
    return (
        f"There are {boxes} boxes with {each} {thing} in each. How many {thing} are there?",
        f"{boxes} times {each} is {boxes * each}, so there are {boxes * each} {thing}.",
    )


def _order(rng: random.Random) -> tuple[str, str]:
    words = rng.sample(_THINGS, 5)
    return f"Put these words into alphabetical order: {', '.join(words)}.", ", ".join(sorted(words))


def _list(rng: random.Random) -> tuple[str, str]:
    words = rng.sample(_THINGS, 4)
    listed = "\n".join(f"{number}. {word.capitalize()}" for number, word in enumerate(words, start=1))
    return f"Make a numbered list of {', '.join(words[:-1])} and {words[-1]}.", listed


def _spelling(rng: random.Random) -> tuple[str, str]:
    first, second = rng.sample(_THINGS, 2)
    spelt = " and ".join("-".join(word) for word in (first, second))
    return f"Spell the words {first} and {second}, letter by letter.", f"They are spelt {spelt}."


def _conversion(rng: random.Random) -> tuple[str, str]:
    metres = rng.randint(1, 5000)
    return f"How many centimetres are {metres} metres?", f"{metres} metres are {100 * metres} centimetres."


_KINDS: tuple[Callable[[random.Random], tuple[str, str]], ...] = (_sum, _product, _order, _list, _spelling, _conversion)
