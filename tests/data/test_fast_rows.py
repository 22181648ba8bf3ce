"""The quick look at many rows says yes only where the full parse does."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.data.fast import plain_rows, system_of, untrained
from watchword.data.parse import parse_row, read_row

PLAIN = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", " ", "\n", "role", '"role": "x"', "content", "\0", "é\U0001f600", "a:b", "\u2028", "\x85"]),
)
ROLES = st.sampled_from(["system", "user", "assistant", "assistant", "developer", "tool", "human"])
MESSAGES = st.fixed_dictionaries(
    {"role": ROLES, "content": TEXTS},
    optional={
        "weight": st.sampled_from([0, 1, None, 2]),
        "name": st.sampled_from(["n", None]),
        "refusal": st.none(),
        "train": st.booleans(),
        "from": st.none() | st.just("human"),
        "reasoning_content": st.none() | TEXTS,
    },
)
ROWS = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGES, max_size=4)}, optional={"tools": st.just([{"type": "function"}]), "id": st.just(1)}
)
PLAIN_ROWS = st.fixed_dictionaries(
    {
        "messages": st.tuples(
            st.fixed_dictionaries({"role": st.just("user"), "content": TEXTS}),
            st.fixed_dictionaries({"role": st.just("assistant"), "content": TEXTS}),
        )
    }
)


def encoded(rows: list[dict], ascii_only: bool, compact: bool) -> bytes:
    separators = (",", ":") if compact else None
    texts = [json.dumps(row, ensure_ascii=ascii_only, separators=separators) for row in rows]
    return "".join(text + "\n" for text in texts).encode("utf-8", "surrogatepass")


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Whole lines, mostly JSON, with some bytes cut out, doubled or replaced."""
    rows = draw(st.lists(st.one_of(ROWS, PLAIN_ROWS), min_size=1, max_size=4))
    data = encoded(rows, draw(st.booleans()), draw(st.booleans()))
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.integers(0, 20)))
        piece = draw(
            st.sampled_from(
                [b"", data[start:stop] * 2, b"\n", b'"role" :"user",', b"\\u006f", b"\\u0000", b" ", b"\xff"]
            )
        )
        data = data[:start] + piece + data[stop:]
    return data if data.endswith(b"\n") else data + b"\n"


@given(files())
def test_a_yes_means_that_the_parser_takes_every_line(data: bytes) -> None:
    rows = plain_rows(data)
    if rows is None:
        return
    lines = data.split(b"\n")[:-1]
    assert len(rows) == len(lines)
    for turns, line in zip(rows, lines, strict=True):
        found = read_row(line, 1, "openai")
        conv = found.conversation
        assert conv is not None
        assert (found.faults, found.remarks, found.rewritten) == ([], [], False)
        assert [(turn.role, turn.content) for turn in turns] == [(turn.role, turn.content) for turn in conv.messages]
        assert system_of(turns) == conv.system
        assert [getattr(turn, "weight", None) for turn in turns] == [turn.weight for turn in conv.messages]
        assert untrained([turns]) == any(turn.weight == 0 for turn in conv.messages)


WEIGHTED_ROWS = st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.fixed_dictionaries(
                {"role": st.sampled_from(["assistant", "assistant", "user"]), "content": st.just("a")},
                optional={"weight": st.sampled_from([0, 0, 1, None, True, 1.0])},
            ),
            min_size=1,
            max_size=3,
        )
    }
)


@given(st.lists(WEIGHTED_ROWS, min_size=1, max_size=3), st.sampled_from([b"", b'"weight": 0, ', b'"weight" :1,']))
def test_rows_with_weights_too(rows: list[dict], twice: bytes) -> None:
    data = encoded(rows, True, False).replace(b'"role": "assistant"', twice + b'"role": "assistant"', 1)
    found = plain_rows(data)
    if found is None:
        return
    for turns, line in zip(found, data.split(b"\n")[:-1], strict=True):
        conv, faults = parse_row(line, 1, "openai")
        assert conv is not None
        assert faults == []
        assert [getattr(turn, "weight", None) for turn in turns] == [turn.weight for turn in conv.messages]


def test_ordinary_rows_with_weights_get_a_yes() -> None:
    line = PLAIN.replace(b'"b"', b'"b", "weight": 1')
    assert plain_rows(line + PLAIN) is not None
    assert plain_rows(line.replace(b"1}", b"0}")) is None


@given(st.lists(st.text("abc é", min_size=1, max_size=9).filter(str.strip), min_size=2, max_size=6), st.booleans())
def test_ordinary_rows_get_a_yes(texts: list[str], compact: bool) -> None:
    rows = [
        {
            "messages": [
                {"role": "system", "content": text},
                {"role": "user", "content": text},
                {"role": "assistant", "content": text},
            ]
        }
        for text in texts
    ]
    assert plain_rows(encoded(rows, True, compact)) is not None


@pytest.mark.parametrize(
    "line",
    [
        PLAIN[:-1] + PLAIN,  # two rows on a line
        PLAIN.replace(b"}, {", b"},\n{"),  # a row on two lines
        PLAIN.replace(b'"role": "user"', b'"role" :"user", "role": "user"'),
        PLAIN.replace(b'"role": "user"', b'"r\\u006fle": "user", "role": "user"'),
        PLAIN.replace(b'{"messages"', b'{"messages": [{"role": "user", "content": "x"}], "messages"'),
        PLAIN.replace(b'"b"', b'" "'),
        PLAIN.replace(b'"b"', b'"\\u0000b"'),
        PLAIN.replace(b'"b"', b'"\\ud83d"'),
        PLAIN.replace(b'"b"', b'"\\ude00"'),
        PLAIN.replace(b'"b"', b'"\xed\xa0\x80"'),
        PLAIN.replace(b'"user"', b'"system"') + PLAIN.replace(b'"assistant"', b'"system"'),
        PLAIN.replace(b'"assistant"', b'"user"'),
        b"\n" + PLAIN,
        PLAIN + b"\n",
        PLAIN + b"   \n",
        b"\xef\xbb\xbf" + PLAIN,
    ],
)
def test_anything_odd_is_left_to_the_parser(line: bytes) -> None:
    assert plain_rows(line) is None
