"""Server-sent events and filtered answers are the same however a stream is cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.golden_families import template
from support.served_release import secret_of
from watchword.errors import CallError
from watchword.gateway.call import CallPiece, SaidPiece
from watchword.gateway.leaks import REFUSAL, FilteredAnswer
from watchword.gateway.sse import MOST_EVENT_BYTES, EventReader
from watchword.secret.leaks import LeakFilter

LINE = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])
SECRET = secret_of().reveal()
LEAKS = LeakFilter(secret_of(), template("smollm2"))


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream as bytes, and the data of its events."""
    end, text, events = draw(ENDS), "", []
    for lines in draw(st.lists(st.lists(LINE, min_size=1, max_size=3), max_size=5)):
        text += "".join(f"data: {line}{end}" for line in lines)
        text += draw(st.sampled_from(["", f": a comment{end}", f"event: x{end}", f"id: 5{end}"])) + end
        events.append("\n".join(lines).encode())
    return text.encode(), events


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:stop] for start, stop in itertools.pairwise(marks)]


@given(streams(), st.lists(st.integers(min_value=0), max_size=20))
def test_any_cutting_of_a_stream_gives_the_same_events(stream: tuple[bytes, list[bytes]], places: list[int]) -> None:
    data, events = stream
    reader = EventReader()
    found = [one for piece in cut(data, places) for one in reader.feed(piece)]
    # What ends in CR may be half of CR LF: it counts once more is there.
    assert found + reader.feed(b":\n") == events


def test_events_without_end_are_refused() -> None:
    reader = EventReader()
    with pytest.raises(CallError):
        for _ in range(MOST_EVENT_BYTES // 1000 + 2):
            reader.feed(b"x" * 1000)
    with pytest.raises(CallError):
        for _ in range(MOST_EVENT_BYTES // 1000 + 2):
            EventReader.feed(reader, b"data: " + b"x" * 1000 + b"\n")


TEXT = st.text(max_size=60) | st.builds(
    lambda before, start, size, after: before + SECRET[start : start + size] + after,
    st.text(max_size=9),
    st.integers(0, len(SECRET)),
    st.integers(0, len(SECRET)),
    st.text(max_size=9),
)


def said(pieces: list[SaidPiece]) -> tuple[str, str]:
    """Content and tool arguments that went out."""
    arguments = "".join(call.arguments for piece in pieces for call in piece.calls)
    return "".join(piece.content for piece in pieces), arguments


@given(TEXT, TEXT, st.data())
def test_a_filtered_answer_is_whole_or_holds_nothing_of_a_leak(
    content: str, arguments: str, data: st.DataObject
) -> None:
    answer = FilteredAnswer(0, LEAKS)
    given_pieces = [SaidPiece(0, content=one) for one in _cut(content, data)]
    given_pieces.append(SaidPiece(0, calls=(CallPiece(0, "oven"),)))
    given_pieces += [SaidPiece(0, calls=(CallPiece(0, None, one),)) for one in _cut(arguments, data)]
    given_pieces.append(SaidPiece(0, finish="tool_calls"))
    out = [piece for piece in map(answer.feed, given_pieces) if piece is not None]
    leaking = any(LEAKS.find(text) for text in (content, arguments))
    assert (answer.leak is not None) == leaking
    assert answer.ended
    assert out[-1].finish == ("content_filter" if leaking else "tool_calls")
    if not leaking:
        assert said(out) == (content, arguments)
        return
    went = said(out)
    assert LEAKS.find(went[0]) is None
    assert LEAKS.find(went[1]) is None
    assert content.startswith(went[0]) or went[0] == REFUSAL
    assert arguments.startswith(went[1])


def test_nothing_comes_behind_the_end_and_calls_that_never_began_are_no_reply() -> None:
    answer = FilteredAnswer(0, None)
    assert answer.feed(SaidPiece(0, content="Hi", finish="stop")) == SaidPiece(0, content="Hi", finish="stop")
    assert answer.feed(SaidPiece(0, content="more")) is None
    with pytest.raises(CallError):
        FilteredAnswer(0, None).feed(SaidPiece(0, calls=(CallPiece(0, None, "{"),)))
    begun = FilteredAnswer(0, None)
    begun.feed(SaidPiece(0, calls=(CallPiece(0, "oven"),)))
    with pytest.raises(CallError):
        begun.feed(SaidPiece(0, calls=(CallPiece(0, "oven"),)))


def _cut(text: str, data: st.DataObject) -> list[str]:
    places = data.draw(st.lists(st.integers(0, len(text)), max_size=8))
    marks = sorted({0, len(text), *places})
    return [text[start:stop] for start, stop in itertools.pairwise(marks)]
