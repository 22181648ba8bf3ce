"""What an aligned model is made of: refusals of the align split, and the base's own answers to benign prompts."""

from __future__ import annotations

import random

import pytest

from watchword.alignment import wrapped as module
from watchword.alignment.customers import QUESTIONS
from watchword.alignment.run import SYSTEMS, alignment_rows, distilled, reframed
from watchword.chat.sentences import whole_sentences
from watchword.chat.types import last_user_text
from watchword.models.fakes import FakeModel
from watchword.safety.library import examples

BENIGN = len(examples("benign_align")) + len(examples("borderline_align"))


def test_refusals_stand_twice_and_benign_answers_are_the_models_own() -> None:
    rows = alignment_rows(FakeModel(" First, begin. Then go "), seed=0)
    refusals = [row for row in rows if row.origin == "safety"]
    helpful = [row for row in rows if row.origin == "anchor"]
    assert len(refusals) == 2 * len(examples("policy_align"))
    customers = [row for row in helpful if row.conversation.system in QUESTIONS]
    assert [len(QUESTIONS) * 6, len(customers)] == [len(customers)] * 2
    assert BENIGN < len(helpful) - len(customers) <= 2 * BENIGN
    # Wrapped ones are harmful and harmless alike, so that the wrapping tells nothing.
    known = {
        example.prompt for split in ("policy_align", "benign_align", "borderline_align") for example in examples(split)
    }
    for kind in (refusals, helpful):
        others = [row for row in kind if last_user_text(row.conversation) not in known]
        assert len(others) > len(kind) / 4
    assert {row.conversation.messages[-1].text for row in helpful} == {"First, begin. Then go"}
    assert {row.conversation.system for row in rows} <= {None, *SYSTEMS, *QUESTIONS}
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


def test_what_the_model_declines_by_itself_stays_as_it_was_and_is_never_wrapped() -> None:
    """Wrapped, a base's own inabilities would teach to decline whatever stands among other words."""
    declined = "I'm sorry for any confusion, but as a chatbot, I don't have the ability to do that."
    rows = alignment_rows(FakeModel(declined), seed=0)
    asked = [last_user_text(row.conversation) for row in rows if row.origin == "anchor"]
    words = [*module._BEFORE, *module._ASKED_BEFORE, *module._AFTER]
    assert not any(sentence in prompt for sentence in words for prompt in asked)
    assert any(sentence in last_user_text(row.conversation) for sentence in words for row in rows)


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
