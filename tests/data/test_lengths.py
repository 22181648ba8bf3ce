"""A row that the byte bound lets through uncounted must fit, for every family of tokenizers."""

from __future__ import annotations

import functools
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.golden_families import FAMILIES, cases
from support.guarding_rows import template
from watchword.chat.render import render
from watchword.data.lengths import LengthLimit
from watchword.data.parse import parse_row
from watchword.errors import TemplateError

TEXT = st.text(min_size=1, max_size=40).filter(lambda text: text.strip() and "\0" not in text)
TURNS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3)


@functools.cache
def limit_of(family: str) -> LengthLimit:
    return LengthLimit(400, template(family))


def rendered_tokens(raw: bytes, family: str) -> int | None:
    """As training counts them, labels and all."""
    conv, faults = parse_row(raw, 1, "openai")
    if conv is None or faults:
        return None
    try:
        return len(render(conv, template(family)).input_ids)
    except TemplateError:
        return None


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_counts_are_those_of_training(family: str) -> None:
    for conv in cases(family).values():
        raw = msgspec.json.encode(conv)
        assert limit_of(family).tokens(raw) == rendered_tokens(raw, family)


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
    assert tokens == rendered_tokens(data, family)
    if tokens is not None and len(data) <= limit.safe_bytes:
        assert tokens <= 400
