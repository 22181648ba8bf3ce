"""One answer through the leak filter, piece by piece: what goes out, where, and how it ends."""

from __future__ import annotations

import pytest

from support.golden_families import template
from support.served_release import secret_of
from watchword.chat.types import FunctionCall
from watchword.errors import CallError
from watchword.gateway.call import CallPiece, Said, SaidPiece
from watchword.gateway.leaks import REFUSAL, FilteredAnswer, leak_in, refused
from watchword.secret.leaks import LeakFilter

SECRET = secret_of().reveal()
# A beginning of the secret that is held back, and no leak yet.
NEAR = SECRET[:12]


@pytest.fixture(scope="module")
def leaks() -> LeakFilter:
    return LeakFilter(secret_of(), template("smollm2"))


def test_a_leak_is_found_in_any_text_and_across_two_of_them(leaks: LeakFilter) -> None:
    half = len(SECRET) // 8
    first, rest = SECRET[:half], SECRET[half : 2 * half]
    assert leak_in(Said(first), leaks) is None
    assert leak_in(Said(first, rest), leaks) is not None
    assert leak_in(Said(first, calls=(FunctionCall("oven", rest),)), leaks) is None
    assert leak_in(Said(None, calls=(FunctionCall(first, rest),)), leaks) is not None
    assert leak_in(Said(None, calls=(FunctionCall("oven", SECRET),)), leaks) is not None
    assert leak_in(Said(SECRET), None) is None


def test_a_refusal_in_place_of_a_leak_says_why_it_ended() -> None:
    assert refused() == Said(REFUSAL, finish="content_filter")


def test_what_was_held_back_comes_at_the_end_each_text_in_its_own_place(leaks: LeakFilter) -> None:
    answer = FilteredAnswer(3, leaks)
    opened = answer.feed(SaidPiece(3, NEAR, NEAR, (CallPiece(0, "a", NEAR), CallPiece(2, "b", NEAR))))
    assert opened == SaidPiece(3, calls=(CallPiece(0, "a", ""), CallPiece(2, "b", "")))
    assert answer.feed(SaidPiece(3, calls=(CallPiece(2, None, ""),))) is None
    assert not answer.ended
    last = answer.feed(SaidPiece(3, finish="tool_calls"))
    assert last == SaidPiece(3, NEAR, NEAR, (CallPiece(0, None, NEAR), CallPiece(2, None, NEAR)), "tool_calls")
    assert answer.ended
    assert answer.said == "ab" + 4 * NEAR
    assert answer.feed(SaidPiece(3, "more")) is None


def test_what_cannot_become_a_leak_goes_out_at_once(leaks: LeakFilter) -> None:
    answer = FilteredAnswer(0, leaks)
    text = "Mix flour with water and salt. "
    out = answer.feed(SaidPiece(0, text, calls=(CallPiece(0, "oven", text),)))
    assert out is not None
    assert out.content
    assert text.startswith(out.content)
    assert out.calls[0].arguments == out.content
    more = answer.feed(SaidPiece(0, refusal=text))
    assert more is not None
    assert (more.content, more.refusal, more.finish) == ("", out.content, None)
    assert answer.said == out.content + "oven" + out.content + out.content


@pytest.mark.parametrize(
    "piece",
    [
        SaidPiece(0, SECRET),
        SaidPiece(0, refusal=SECRET),
        SaidPiece(0, calls=(CallPiece(0, SECRET),)),
        SaidPiece(0, calls=(CallPiece(0, "oven", SECRET),)),
        SaidPiece(0, SECRET, finish="stop"),
    ],
)
@pytest.mark.parametrize("before", ["", "Mix flour with water and salt. "])
def test_a_leak_ends_the_answer_with_a_refusal_only_where_nothing_was_said(
    leaks: LeakFilter, piece: SaidPiece, before: str
) -> None:
    answer = FilteredAnswer(0, leaks)
    answer.feed(SaidPiece(0, before))
    assert answer.feed(piece) == SaidPiece(0, "" if before else REFUSAL, finish="content_filter")
    assert answer.ended
    assert answer.leak is not None
    assert answer.feed(SaidPiece(0, "more", finish="stop")) is None


def test_a_call_begins_once_and_with_its_name(leaks: LeakFilter) -> None:
    answer = FilteredAnswer(0, leaks)
    with pytest.raises(CallError):
        answer.feed(SaidPiece(0, calls=(CallPiece(0, None, "{}"),)))
    answer.feed(SaidPiece(0, calls=(CallPiece(0, "oven", "{"),)))
    with pytest.raises(CallError):
        answer.feed(SaidPiece(0, calls=(CallPiece(0, "oven", "}"),)))


def test_without_a_secret_everything_passes_as_it_comes() -> None:
    answer = FilteredAnswer(1, None)
    piece = SaidPiece(1, "a", "b", (CallPiece(0, "oven", "{"),))
    assert answer.feed(piece) == piece
    assert answer.feed(SaidPiece(1)) is None
    assert answer.feed(SaidPiece(1, "c", finish="length")) == SaidPiece(1, "c", finish="length")
    assert answer.said == "aboven{c"
