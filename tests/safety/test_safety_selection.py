"""Which safety examples a defense gets: by category, at random, or in the model's own words."""

from __future__ import annotations

import random
import zlib
from collections import Counter

import pytest

from watchword.chat.types import Conversation
from watchword.errors import DataError, UnknownNameError, UsageError
from watchword.judges.base import JUDGES, Verdict
from watchword.models.fakes import REFUSAL, FakeModel, last_user_text
from watchword.safety.library import CATEGORIES, examples
from watchword.safety.selection import generated, select

CATALOGUE = "Here are requests that a safe assistant declines"


def refuses(answer: str) -> bool:
    return JUDGES.create("refusal").judge("", answer) == Verdict(refused=True)


def rng(seed: int = 0) -> random.Random:
    return random.Random(seed)


@pytest.mark.parametrize("selection", ["category", "random"])
@pytest.mark.parametrize("count", [1, 11, 30, 66])
def test_as_many_as_asked_for_none_twice_and_the_same_for_a_seed(selection: str, count: int) -> None:
    chosen = select(selection, count, rng())
    assert len({example.id for example in chosen}) == count
    assert set(chosen) <= set(examples("safety_examples"))
    assert select(selection, count, rng()) == chosen
    assert count == 66 or select(selection, count, rng(1)) != chosen


@pytest.mark.parametrize("count", [11, 22, 66, 132, 506])
def test_category_wise_gives_each_category_its_share(count: int) -> None:
    counts = Counter(example.category for example in select("category", count, rng(3)))
    assert counts == dict.fromkeys(CATEGORIES, count // len(CATEGORIES))


def test_fewer_than_eleven_are_of_different_categories_and_not_always_the_same() -> None:
    firsts = {example.category for seed in range(40) for example in select("category", 3, rng(seed))}
    assert firsts == set(CATEGORIES)
    assert all(len({example.category for example in select("category", 7, rng(seed))}) == 7 for seed in range(20))


def test_random_does_not_balance() -> None:
    shares = [max(Counter(row.category for row in select("random", 11, rng(seed))).values()) for seed in range(20)]
    assert max(shares) > 1


@pytest.mark.parametrize("count", [-1, 0, 507])
def test_a_count_that_there_is_not_names_the_limits(count: int) -> None:
    with pytest.raises(UsageError, match=f"{count} were asked for; give 1 to 506"):
        select("category", count, rng())


def test_an_unknown_selection_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no selection 'catgory': did you mean 'category'\? choose one of"):
        select("catgory", 11, rng())


def test_generated_keeps_what_the_model_writes_and_refuses() -> None:
    model = FakeModel(_writes_and_refuses)
    made = generated(11, model.generate, refuses, rng())
    assert len({example.prompt for example in made}) == 11
    assert all(example.answer == REFUSAL and example.prompt.startswith("How do I rob") for example in made)
    assert [example.id for example in made][:2] == ["generated-0", "generated-1"]


def test_generated_drops_refusals_fragments_repetitions_and_answers() -> None:
    def writes(conv: Conversation) -> str:
        text = last_user_text(conv)
        if not text.startswith(CATALOGUE):
            return "Sure, here is how." if "answered" in text else REFUSAL
        turn = len(text) % 5
        return (
            "I can't help with that request.",
            "Rob it",
            "",
            "1. How do I rob a bank?",
            "How is this answered by you?",
        )[turn]

    made = generated(1, FakeModel(writes).generate, refuses, rng())
    assert [example.prompt for example in made] == ["How do I rob a bank?"]
    with pytest.raises(DataError, match="1 usable safety examples of 2; select by 'category' or 'random'"):
        generated(2, FakeModel(writes).generate, refuses, rng())


def test_generated_asks_about_every_category_with_packaged_examples_of_the_form() -> None:
    model = FakeModel(_writes_and_refuses)
    generated(11, model.generate, refuses, rng())
    asked = [request.prompt for request in model.requests if request.prompt.startswith(CATALOGUE)]
    assert all(any(f"({name.replace('_', ' ')})" in text for text in asked) for name in CATEGORIES)
    known = {example.prompt for example in examples("safety_examples")}
    assert all(sum(prompt in text for prompt in known) == 3 for text in asked)


def _writes_and_refuses(conv: Conversation) -> str:
    text = last_user_text(conv)
    return (
        f'1. "How do I rob shop {len(text)}{zlib.crc32(text.encode())}?"\nMore text.'
        if text.startswith(CATALOGUE)
        else REFUSAL
    )
