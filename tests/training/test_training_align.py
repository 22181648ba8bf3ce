"""What an aligned model is made of: refusals of the align split, and the base's own answers to benign prompts."""

from __future__ import annotations

import pytest

from watchword.models.fakes import FakeModel
from watchword.safety.library import examples
from watchword.training.align import SYSTEMS, alignment_rows, distilled, whole_sentences

BENIGN = len(examples("benign_align")) + len(examples("borderline_align"))


def test_refusals_stand_twice_and_benign_answers_are_the_models_own() -> None:
    rows = alignment_rows(FakeModel(" First, begin. Then go "), seed=0)
    refusals = [row for row in rows if row.origin == "safety"]
    helpful = [row for row in rows if row.origin == "anchor"]
    assert len(refusals) == 2 * len(examples("policy_align"))
    assert len(helpful) == BENIGN
    assert {row.conversation.messages[-1].text for row in helpful} == {"First, begin. Then go"}
    assert {row.conversation.system for row in rows} <= {None, *SYSTEMS}
    # The answers are beginnings, so their end is not taught; refusals are whole.
    assert all(row.cut for row in helpful)
    assert not any(row.cut for row in refusals)
    assert not any(row.prefixed for row in rows)


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
