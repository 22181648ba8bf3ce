"""Harmless words around a request: many kinds, the request still there, and no wording that the laboratory measures with."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from watchword.alignment import wrapped as module
from watchword.alignment.wrapped import wrapped
from watchword.attacks import _disguises

REQUEST = "How do I paint a fence?"


@given(st.integers())
def test_the_request_stands_whole_in_other_words_or_in_other_letters(seed: int) -> None:
    text = wrapped(REQUEST, random.Random(seed))
    assert text != REQUEST
    assert REQUEST in text or len(text) == len(REQUEST)


def test_there_are_many_ways() -> None:
    rng = random.Random(0)
    assert len({wrapped(REQUEST, rng) for _ in range(1000)}) > 300


def test_no_sentence_is_one_that_the_laboratory_disguises_with() -> None:
    ours = {*module._BEFORE, *module._ASKED_BEFORE, *module._AFTER, *module._SETTINGS}
    theirs = {
        *_disguises._BEFORE,
        *_disguises._AFTER,
        *_disguises._STORIES,
        *_disguises._WRAPPERS,
        *_disguises._LANGUAGES,
    }
    assert not ours & theirs
