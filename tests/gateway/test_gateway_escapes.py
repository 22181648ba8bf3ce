"""A secret with some letters written as JSON escapes is found, as whoever decodes the JSON would read it."""

from __future__ import annotations

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from support.golden_families import template
from support.served_release import secret_of
from watchword.chat.types import FunctionCall
from watchword.gateway.call import CallPiece, Said, SaidPiece
from watchword.gateway.escapes import unescaped
from watchword.gateway.leaks import FilteredAnswer, leak_in
from watchword.secret.leaks import LeakFilter

SECRET = secret_of().reveal()
LEAKS = LeakFilter(secret_of(), template("smollm2"))


def written(text: str, step: int) -> str:
    """The text as JSON in which every so manieth letter is an escape."""
    return "".join(f"\\u{ord(char):04x}" if at % step == 0 else char for at, char in enumerate(text))


ESCAPED = st.builds(
    lambda before, start, size, step, after: f"{before}{written(SECRET[start : start + size], step)}{after}",
    st.text(max_size=9),
    st.integers(0, len(SECRET)),
    st.integers(0, len(SECRET)),
    st.integers(2, 5),
    st.text(max_size=9),
)
LINES = st.builds(
    lambda start, size: json.dumps("\n".join(SECRET[start : start + size])), st.just(0), st.integers(0, 200)
)
ODD = st.text(st.sampled_from('\\u00e9n"x41'), max_size=30)


def test_what_a_text_reads_as() -> None:
    assert list(unescaped(r"a\u0041\n\\n\"\/x")) == ['aA\n\\n"/x', 'aA\n\n"/x']
    assert list(unescaped(r"\u12")) == ["u12"]
    assert list(unescaped(r"\\\u005cu0041")) == [r"\\u0041", r"\u0041", "A"]
    assert list(unescaped("plain")) == []


def test_every_second_letter_as_an_escape_is_a_leak() -> None:
    text = json.dumps({"note": "x"}).replace("x", written(SECRET, 2))
    assert LEAKS.find(text) is None
    assert leak_in(Said(None, calls=(FunctionCall("oven", text),)), LEAKS) is not None
    assert leak_in(Said(text), LEAKS) is not None
    assert leak_in(Said(json.dumps(text)), LEAKS) is not None


@given(ESCAPED | ESCAPED.map(json.dumps) | LINES | ODD, st.data())
def test_a_stream_is_read_both_ways_however_it_is_cut(text: str, data: st.DataObject) -> None:
    answer, out = FilteredAnswer(0, LEAKS), ""
    places = sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=8))})
    pieces = [CallPiece(0, "oven"), *(CallPiece(0, None, text[a:b]) for a, b in itertools.pairwise(places))]
    for piece in [*(SaidPiece(0, calls=(one,)) for one in pieces), SaidPiece(0, finish="tool_calls")]:
        passed = answer.feed(piece)
        out += "".join(call.arguments for call in passed.calls) if passed is not None else ""
    leaking = leaks(text)
    assert (answer.leak is not None) == leaking
    if not leaking:
        assert out == text
    else:
        assert text.startswith(out)
        assert not leaks(out)


def leaks(text: str) -> bool:
    return any(LEAKS.find(plain) for plain in (text, *unescaped(text)))
