"""How long an answer may be: no bound, however it is felt, tells more of the secret's length than its multiple of 64."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.golden_families import template
from watchword.chat.render import render_prompt
from watchword.chat.types import Conversation, conversation
from watchword.gateway.call import ChatCall, Picture
from watchword.gateway.room import STEP, answered_in_rest, bound_of

FORM = template("smollm2")


@given(context=st.integers(1, 1 << 20), hidden=st.integers(0, 400))
def test_a_bound_leaves_room_for_the_secret_and_is_a_multiple_of_64(context: int, hidden: int) -> None:
    bound = bound_of(context, hidden)
    assert 0 <= bound <= context
    assert bound == context if hidden == 0 else bound % STEP == 0 and (bound == 0 or bound + hidden <= context)


@given(text=st.text(max_size=400), system=st.none() | st.text(max_size=100), bound=st.integers(0, 1 << 15))
def test_an_answer_of_no_given_length_fits_without_a_count(text: str, system: str | None, bound: int) -> None:
    call = ChatCall("m", conversation(text, system=system))
    given_ = answered_in_rest(call, bound)
    if given_ is call:
        assert bound < 4 * (6 * len(text) + 6 * len(system or "") + 1200)
    else:
        assert given_.options["max_tokens"] == bound - bound // 4
        assert len(render_prompt(call.conversation, FORM)) + given_.options["max_tokens"] <= bound


@pytest.mark.parametrize(
    "call",
    [
        ChatCall("m", conversation("Hi"), options={"max_tokens": 5}),
        ChatCall("m", conversation("Hi"), pictures=(Picture("data:image/png;base64,AA"),)),
        ChatCall("m", conversation("bread " * 2000)),
        ChatCall("m", Conversation(messages=conversation("Hi").messages, tools=({"type": "function"},))),
    ],
)
def test_other_calls_are_counted(call: ChatCall) -> None:
    assert answered_in_rest(call, 8192) is call
