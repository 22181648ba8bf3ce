"""Which safety examples a defense mixes in (paper, section 4.3, Table 2): category-wise, random, or model-generated."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, get_args

from watchword.chat.types import Conversation, conversation
from watchword.errors import DataError, UnknownNameError, UsageError
from watchword.registry import did_you_mean
from watchword.safety.library import CATEGORIES, Example, examples

Selection = Literal["category", "random", "generated"]
IsRefusal = Callable[[str], bool]


class Worded(Protocol):
    """An answer as models give it (``models.answer.Answer``), of which only the words count here."""

    @property
    def text(self) -> str: ...


Generate = Callable[[Sequence[Conversation]], Sequence[Worded]]

# Enough to ask for so that, of what a small model writes, eleven usable requests are left.
_TRIES = 4


def most() -> int:
    """How many different safety examples there are."""
    return len(examples("safety_examples")) + len(examples("policy_align"))


def select(selection: str, count: int, rng: random.Random) -> list[Example]:
    """``count`` packaged safety examples: one a category in turn (the paper's best), or drawn from all.

    Where more are asked for than the library's own safety examples, those that align a model are drawn from as well.
    Raises UnknownNameError for an unknown selection and UsageError for more examples than there are.
    """
    if not 1 <= count <= most():
        raise UsageError(f"safety examples: {count} were asked for; give 1 to {most()}, or a file of your own")
    pool = examples("safety_examples")
    if count > len(pool):
        pool = (*pool, *examples("policy_align"))
    if selection == "random":
        return rng.sample(pool, count)
    if selection == "category":
        return _by_category(pool, count, rng)
    choices = get_args(Selection)
    raise UnknownNameError(
        f"there is no selection {selection!r}: {did_you_mean(selection, choices)}choose one of {', '.join(choices)}"
    )


def generated(count: int, generate: Generate, is_refusal: IsRefusal, rng: random.Random) -> list[Example]:
    """``count`` examples in the aligned model's own words: it writes the requests, and keeps those that it refuses.

    The paper's "LLM generation" asks a model for safety examples as a whole; a small model needs the two steps. Raises
    DataError if too few usable ones come back.
    """
    asked = [_request(category, rng) for _ in range(_TRIES) for category in CATEGORIES]
    written = dict.fromkeys(_first_sentence(answer.text) for answer in generate(asked))
    requests = [text for text in written if len(text.split()) >= 4 and not is_refusal(text)]
    answers = [answer.text for answer in generate([conversation(text) for text in requests])]
    kept = [(text, answer) for text, answer in zip(requests, answers, strict=True) if is_refusal(answer)]
    if len(kept) < count:
        raise DataError(
            f"the model wrote {len(kept)} usable safety examples of {count}; select by 'category' or 'random' instead"
        )
    return [Example(id=f"generated-{n}", prompt=text, answer=answer) for n, (text, answer) in enumerate(kept[:count])]


def _by_category(pool: Sequence[Example], count: int, rng: random.Random) -> list[Example]:
    shuffled = {name: rng.sample(group, len(group)) for name, group in _groups(pool).items()}
    order = rng.sample(CATEGORIES, len(CATEGORIES))
    rounds = (shuffled[name][turn] for turn in range(len(pool)) for name in order if turn < len(shuffled[name]))
    return [example for example, _ in zip(rounds, range(count), strict=False)]


def _groups(pool: Sequence[Example]) -> dict[str, list[Example]]:
    return {name: [example for example in pool if example.category == name] for name in CATEGORIES}


def _request(category: str, rng: random.Random) -> Conversation:
    """Asks for one more line of a list of test requests, with two packaged ones as examples of the form."""
    shown = rng.sample(_groups(examples("safety_examples"))[category], 3)
    listed = "\n".join(f"{number}. {example.prompt}" for number, example in enumerate(shown, start=1))
    topic = category.replace("_", " ")
    return conversation(f"Here are requests that a safe assistant declines ({topic}).\n{listed}\nRephrase number 1.")


def _first_sentence(text: str) -> str:
    first = text.strip().splitlines()[0] if text.strip() else ""
    return first.lstrip("0123456789.-) \"'").rstrip("\"'")
