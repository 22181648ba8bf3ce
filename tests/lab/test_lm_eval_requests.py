"""lm-eval's requests in our own terms: no secret in their text, the conversation kept, and nothing taken that is not done."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.chat.render import prompt_text
from watchword.chat.types import Conversation, Message
from watchword.errors import UsageError
from watchword.lab.lm_eval.requests import RequestText, answer_options, request_text, shared_turns, together
from watchword.models.base import GenerationOptions
from watchword.models.fakes import DEFAULT_SYSTEM, fake_template

TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "1 + 1?"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "1 + 2?"},
]


def test_the_text_is_what_the_template_writes_and_the_turns_are_kept() -> None:
    request = request_text(TURNS, fake_template())
    assert request == prompt_text(request.conversation, fake_template())
    assert request.endswith("1 + 2?<|im_end|>\n<|im_start|>assistant\n")
    assert [(message.role, message.text) for message in request.conversation.messages] == [
        tuple(turn.values()) for turn in TURNS
    ]
    assert DEFAULT_SYSTEM in request_text(TURNS[1:], fake_template())


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_keep_the_turns(copied: Any) -> None:
    request = request_text(TURNS, fake_template())
    again = copied(request)
    assert (type(again), again, again.conversation) == (RequestText, request, request.conversation)
    # So it stands in lm-eval's files.
    assert json.loads(json.dumps(again)) == str(request)


@pytest.mark.parametrize(
    ("turns", "says"),
    [
        ([*TURNS, {"role": "assistant", "content": "The answer is"}], "begins the answer itself"),
        ([{"role": "user", "content": "See:", "image": "cat.png"}], "none of text .*image"),
        ([{"role": "user", "content": 7}], "none of text"),
    ],
)
def test_turns_that_no_service_is_asked_are_refused(turns: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        request_text(turns, fake_template())


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"do_sample": False, "temperature": 0.7}, {}),
        ({"temperature": 0.0, "top_p": 0.5, "num_beams": 1, "repetition_penalty": 1.0}, {}),
        ({"do_sample": True}, {"temperature": 1.0}),
        ({"do_sample": True, "temperature": 0.2, "top_p": 0.95}, {"temperature": 0.2, "top_p": 0.95}),
    ],
)
def test_answers_are_made_as_the_task_says(settings: dict[str, Any], options: dict[str, Any]) -> None:
    made = answer_options({"until": ["\n"], "max_gen_toks": 9, **settings}, 4)
    assert made == GenerationOptions(max_new_tokens=9, batch_size=4, **options)


@pytest.mark.parametrize("settings", [{"num_beams": 4}, {"top_k": 40}, {"repetition_penalty": 1.2}])
def test_what_answers_are_not_made_by_is_refused(settings: dict[str, Any]) -> None:
    ((name, value),) = settings.items()
    with pytest.raises(UsageError, match=f"wants {name}={value!r} of answers; it may set do_sample"):
        answer_options({"max_gen_toks": 9, **settings}, 4)


@given(st.lists(st.integers(0, 3)))
def test_together_is_every_place_once_and_in_order(keys: list[int]) -> None:
    groups = together(keys, lambda key: key)
    assert sorted(place for group in groups for place in group) == list(range(len(keys)))
    assert all(group == sorted(group) and len({keys[place] for place in group}) == 1 for group in groups)
    assert len(groups) == len(set(keys))


def test_questions_behind_the_same_examples_share_them() -> None:
    other = [*TURNS[:3], {"role": "user", "content": "2 + 2?"}]
    assert shared_turns(request_text(TURNS, fake_template())) == shared_turns(request_text(other, fake_template()))
    alone = RequestText("Hi", Conversation((Message(role="user", content="Hi"),)))
    assert shared_turns(alone) == ()
