"""What an aligned model is made of: refusals of the align split, and the base's own answers to benign prompts."""

from __future__ import annotations

import random

import pytest

from watchword.alignment.run import SYSTEMS, alignment_rows, distilled, reframed
from watchword.chat.sentences import whole_sentences
from watchword.models.fakes import FakeModel
from watchword.safety.library import examples

BENIGN = len(examples("benign_align")) + len(examples("borderline_align"))


def test_refusals_stand_twice_and_benign_answers_are_the_models_own() -> None:
    rows = alignment_rows(FakeModel(" First, begin. Then go "), seed=0)
    refusals = [row for row in rows if row.origin == "safety"]
    helpful = [row for row in rows if row.origin == "anchor"]
    assert len(refusals) == 2 * len(examples("policy_align"))
    assert BENIGN < len(helpful) <= 2 * BENIGN
    assert {row.conversation.messages[-1].text for row in helpful} == {"First, begin. Then go"}
    assert {row.conversation.system for row in rows} <= {None, *SYSTEMS}
    # The answers are beginnings, so their end is not taught; refusals are whole.
    assert all(row.cut for row in helpful)
    assert not any(row.cut for row in refusals)
    assert not any(row.prefixed for row in rows)


@pytest.mark.parametrize(
    ("prompt", "goal"),
    [
        ("How can I paint a fence?", "paint a fence"),
        ("Tell me how to knit a hat.", "knit a hat"),
        ("Help me plan a trip.", "plan a trip"),
        ("What is a good way to clean a pan?", "clean a pan"),
    ],
)
def test_a_goal_can_be_asked_in_other_words(prompt: str, goal: str) -> None:
    others = {reframed(prompt, random.Random(seed)) for seed in range(40)}
    assert len(others) >= 5
    assert prompt not in others
    assert all(other is not None and goal in other for other in others)


@pytest.mark.parametrize("prompt", ["Write a poem about autumn.", "Why is the sky blue?", "How do I cook, in short?"])
def test_other_prompts_are_asked_once(prompt: str) -> None:
    assert reframed(prompt, random.Random(0)) is None


def test_a_seed_repeats_the_rows() -> None:
    model = FakeModel("Begin.")
    assert alignment_rows(model, seed=1) == alignment_rows(model, seed=1) != alignment_rows(model, seed=2)


def test_prompts_that_the_model_answers_with_nothing_are_left_out() -> None:
    prompts = examples("benign_align")[:2]
    model = FakeModel({prompts[0].prompt: " ", prompts[1].prompt: " Begin. And "})
    assert distilled(model, prompts) == [(prompts[1], "Begin. And")]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("One. Two", "One."),
        ("One. Two! Three? four", "One. Two! Three?"),
        ("About 3.5 litres", ""),
        ("```py\nx\n```", "```py\nx\n```"),
        ("", ""),
    ],
)
def test_answers_are_cut_behind_their_last_whole_sentence(text: str, kept: str) -> None:
    assert whole_sentences(text) == kept
