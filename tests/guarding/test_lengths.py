"""A row that the byte bound lets through uncounted must fit, for every family of tokenizers."""

from __future__ import annotations

import functools
import json

import pytest
from golden_families import FAMILIES
from guarding_rows import chat_format
from hypothesis import given, settings
from hypothesis import strategies as st

from watchword.guarding.lengths import LengthLimit

TEXT = st.text(min_size=1, max_size=40).filter(lambda text: text.strip() and "\0" not in text)
TURNS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3)


@functools.cache
def limit_of(family: str) -> LengthLimit:
    return LengthLimit(400, chat_format(family))


@pytest.mark.parametrize("family", sorted(FAMILIES))
@settings(max_examples=20)
@given(system=st.none() | TEXT, turns=TURNS, ascii_only=st.booleans())
def test_the_bound_holds(family: str, system: str | None, turns: list[tuple[str, str]], ascii_only: bool) -> None:
    messages = [{"role": "system", "content": system}] if system is not None else []
    for asked, answered in turns:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    raw = json.dumps({"messages": messages}, ensure_ascii=ascii_only, separators=(",", ":"))
    try:
        data = raw.encode()
    except UnicodeEncodeError:
        return
    limit = limit_of(family)
    tokens = limit.tokens(data)
    assert limit.safe_bytes > 0
    if tokens is not None and len(data) <= limit.safe_bytes:
        assert tokens <= 400
