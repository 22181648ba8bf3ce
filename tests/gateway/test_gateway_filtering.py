"""One answer through the leak filter, piece by piece: what goes out, where, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from support.golden_families import template
from support.served_release import secret_of
from watchword.chat.types import FunctionCall
from watchword.errors import CallError
from watchword.gateway.call import CallPiece, Chance, Said, SaidPiece, TokenChances
from watchword.gateway.joined import JsonParts
from watchword.gateway.leaks import REFUSAL, FilteredAnswer, leak_in, refused
from watchword.secret.generate import secret_ids
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
    if before:
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


def test_a_call_goes_on_in_its_own_place_as_its_pieces_come(leaks: LeakFilter) -> None:
    answer = FilteredAnswer(0, leaks)
    answer.feed(SaidPiece(0, calls=(CallPiece(0, "oven"), CallPiece(1, "scale"))))
    text = '{"note": "Mix flour with water and salt."} '
    out = answer.feed(SaidPiece(0, calls=(CallPiece(1, None, text),)))
    assert out is not None
    (call,) = out.calls
    assert (call.place, call.name) == (1, None)
    last = answer.feed(SaidPiece(0, finish="tool_calls"))
    assert last is not None
    assert call.arguments
    assert call.arguments + "".join(one.arguments for one in last.calls if one.place == 1) == text


def test_an_end_alone_is_told_with_the_text_that_ended_it(leaks: LeakFilter) -> None:
    piece = SaidPiece(0, finish="stop", stop="###")
    assert FilteredAnswer(0, leaks).feed(piece) == piece


@pytest.mark.parametrize("texts", [("content", "refusal"), ("content", "call"), ("refusal", "call")])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_leak_over_two_texts_is_found_in_whichever_order_they_come(
    texts: tuple[str, str], backwards: bool, leaks: LeakFilter
) -> None:
    pieces = [saying(text, part) for text, part in zip(texts, cut_up(len(SECRET) // 8, 2), strict=True)]
    first, last = reversed(pieces) if backwards else pieces
    for end in ([last, SaidPiece(0, finish="stop")], [replace(last, finish="stop")]):
        answer = FilteredAnswer(0, leaks)
        sent = [answer.feed(piece) for piece in (first, *end)]
        assert [piece.finish for piece in sent if piece is not None and piece.finish] == ["content_filter"]
        assert answer.leak is not None


def saying(text: str, said: str) -> SaidPiece:
    if text == "call":
        return SaidPiece(0, calls=(CallPiece(0, "oven", json.dumps({"text": said})),))
    return SaidPiece(0, said) if text == "content" else SaidPiece(0, refusal=said)


def places(*tokens: str) -> tuple[TokenChances, ...]:
    """Each token said for sure, with another one that was nearly said."""
    return tuple(TokenChances(Chance(token, -0.1), (Chance(" dough", -2.5),)) for token in tokens)


def test_probabilities_come_whole_and_in_order(leaks: LeakFilter) -> None:
    told = places("Mix", " flour", ",", " water", " and", " salt", ".")
    for filtered in (FilteredAnswer(0, leaks), FilteredAnswer(0, None)):
        sent = [filtered.feed(SaidPiece(0, chances=(one,))) for one in told]
        sent.append(filtered.feed(SaidPiece(0, finish="stop")))
        assert sum((piece.chances for piece in sent if piece is not None), ()) == told
        assert filtered.leak is None
    assert leak_in(Said("Mix", chances=told), leaks) is None


def test_a_secret_in_probabilities_ends_the_answer(leaks: LeakFilter) -> None:
    form = template("smollm2")
    tokens = [form.decode([one]) for one in secret_ids(secret_of(), form)]
    assert leak_in(Said("Mix", chances=places(*tokens)), leaks) is not None
    answer = FilteredAnswer(0, leaks)
    sent = [answer.feed(SaidPiece(0, chances=places(token))) for token in tokens]
    (last,) = [piece for piece in sent if piece is not None and piece.finish]
    assert (last, answer.ended) == (SaidPiece(0, REFUSAL, finish="content_filter"), True)
    assert leak_in(Said("", chances=sum((piece.chances for piece in sent if piece is not None), ())), leaks) is None


def cut_up(size: int, count: int) -> list[str]:
    """A beginning of the secret in pieces, none of which is a leak."""
    return [SECRET[at : at + size] for at in range(0, count * size, size)]


WAYS: dict[str, Callable[[list[str]], Said]] = {
    "arguments as they stand": lambda parts: called(*(("oven", part) for part in parts)),
    "a value of each call": lambda parts: called(*(("oven", json.dumps({"text": part})) for part in parts)),
    "values of one call": lambda parts: called(
        ("oven", json.dumps({f"field{at}": part for at, part in enumerate(parts)}))
    ),
    "values far down": lambda parts: called(*(("oven", json.dumps({"a": [{"b": part}]})) for part in parts)),
    "names of fields": lambda parts: called(*(("oven", json.dumps({part: "warm"})) for part in parts)),
    "values behind a quotation mark": lambda parts: called(
        *(("oven", json.dumps({"text": f'"{part}'})) for part in parts)
    ),
    "values behind an object": lambda parts: called(
        *(("oven", json.dumps({"list": [{"b": None}, part]})) for part in parts)
    ),
    "names of fields behind an object": lambda parts: called(
        *(("oven", json.dumps({"-": {"b": None}, part: "warm"}).replace('"b"', '"-"')) for part in parts)
    ),
    "character numbers between numbered fields": lambda parts: called(
        *(("oven", json.dumps({f"c{at}": ord(char) for at, char in enumerate(part)})) for part in parts)
    ),
    "names of calls with arguments": lambda parts: called(*((part, '{"degrees": "warm"}') for part in parts)),
    "names of calls": lambda parts: called(*((part, "{}") for part in parts)),
    "character numbers": lambda parts: called(
        *(("oven", json.dumps({"codes": [ord(char) for char in part]})) for part in parts)
    ),
    "content, and then a call": lambda parts: replace(
        called(*(("oven", json.dumps({"text": part})) for part in parts[1:])), content=parts[0]
    ),
    "a refusal, and then a call": lambda parts: replace(
        called(*(("oven", json.dumps({"text": part})) for part in parts[1:])), refusal=parts[0]
    ),
}


def called(*calls: tuple[str, str]) -> Said:
    return Said(None, calls=tuple(FunctionCall(name, arguments) for name, arguments in calls), finish="tool_calls")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("size", "count"), [(8, 6), (len(SECRET) // 8, 2)])
def test_a_secret_that_is_cut_up_over_several_texts_is_found_whole_and_streamed(
    way: str, size: int, count: int, leaks: LeakFilter
) -> None:
    parts = cut_up(size, count)
    said = WAYS[way](parts)
    assert all(leak_in(Said(part), leaks) is None for part in parts)
    assert leak_in(said, leaks) is not None
    answer = FilteredAnswer(0, leaks)
    sent = [answer.feed(SaidPiece(0, content=said.content or "", refusal=said.refusal or ""))]
    for place, call in enumerate(said.calls):
        sent.append(answer.feed(SaidPiece(0, calls=(CallPiece(place, call.name),))))
        sent += [answer.feed(SaidPiece(0, calls=(CallPiece(place, None, char),))) for char in call.arguments]
    sent.append(answer.feed(SaidPiece(0, finish="tool_calls")))
    assert [piece.finish for piece in sent if piece is not None and piece.finish] == ["content_filter"]
    # What went out before holds no leak, neither as it stands nor put together.
    out = [call for piece in sent if piece is not None for call in piece.calls]
    places = {call.place: call.name or "" for call in out if call.name}
    went = called(*((name, "".join(c.arguments for c in out if c.place == place)) for place, name in places.items()))
    assert leak_in(went, leaks) is None


def test_a_secret_that_is_cut_up_over_calls_that_come_side_by_side_is_found(leaks: LeakFilter) -> None:
    answer, parts = FilteredAnswer(0, leaks), cut_up(8, 6)
    for at in range(len(parts)):
        answer.feed(SaidPiece(0, calls=(CallPiece(at, "oven", '{"text": "'),)))
    for at, part in enumerate(parts):
        answer.feed(SaidPiece(0, calls=(CallPiece(at, None, f'{part}", "note": null}}'),)))
    assert answer.leak is not None


def test_other_calls_pass_whole_and_streamed(leaks: LeakFilter) -> None:
    said = replace(called(("oven", '{"text": "warm", "n": [1, null, true]}'), ("oven", "no JSON")), content="Well.")
    assert leak_in(said, leaks) is None
    answer = FilteredAnswer(0, leaks)
    for place, call in enumerate(said.calls):
        answer.feed(SaidPiece(0, calls=(CallPiece(place, call.name, call.arguments),)))
    last = answer.feed(SaidPiece(0, finish="tool_calls"))
    assert last is not None
    assert (answer.leak, last.finish) == (None, "tool_calls")


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    size=st.integers(1, 9),
)
def test_names_of_fields_and_values_are_told_apart_in_json_cut_anywhere(value: Any, size: int) -> None:
    text = json.dumps(value, ensure_ascii=False)
    parts = JsonParts()
    pieces = [parts.feed(text[at : at + size]) for at in range(0, len(text), size)]
    assert tuple("".join(side) for side in zip(*pieces, strict=True)) == JsonParts().feed(text)
    names: list[str] = []
    texts: list[str] = []
    left = [value]
    while left:
        found = left.pop(0)
        if isinstance(found, dict):
            names += found
            left = [*found.values(), *left]
        elif isinstance(found, list):
            left = [*found, *left]
        elif isinstance(found, str):
            texts.append(found)
    told_names, told_values = JsonParts().feed(text)
    if "\\" not in text and not any(char in part for part in (*names, *texts) for char in " 0123456789+-.eE"):
        assert sorted(told_names) == sorted("".join(names))
        assert "".join(char for char in told_values if char not in " 0123456789+-.eE") == "".join(texts)
