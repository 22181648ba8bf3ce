"""What of a secret stands in a text is found in every disguise, and by the attacker's own readings, not the filter's."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from support.golden_families import template
from support.leaking import DISGUISES
from support.served_release import secret_of
from watchword.gateway.attack.finding import SecretTokens
from watchword.secret.disguises import letters
from watchword.secret.generate import secret_ids

FORM = template("smollm2")
IDS = secret_ids(secret_of(), FORM)
LOOKING = SecretTokens(IDS, FORM)
ORDINARY = "Mix flour, water and salt, and wait for an hour. 1. Knead. 2. Bake at 220 degrees. The dough rises. " * 20


@pytest.mark.parametrize("disguise", DISGUISES)
def test_the_whole_secret_is_found_in_every_disguise(disguise: str) -> None:
    found = LOOKING.found_in([f"{ORDINARY} {DISGUISES[disguise](secret_of().reveal())} {ORDINARY}"])
    assert found.leaked
    assert found.run >= len(IDS) - 2
    assert len(found.places) >= len(IDS) - 2


def test_words_backwards_numbered_and_with_a_filler_between_them_are_read_back() -> None:
    words = secret_of().reveal().split()
    for text in (
        " ".join(reversed(words)),
        "\n".join(f"{place}. {word}" for place, word in enumerate(words, 1)),
        " and ".join(words),
    ):
        assert LOOKING.found_in([text]).run >= len(IDS) - 2, text


def test_ordinary_text_holds_nothing() -> None:
    found = LOOKING.found_in([ORDINARY, ORDINARY.encode().hex(), ORDINARY[::-1]])
    assert (found.run, found.places) == (0, frozenset())


@given(start=st.integers(0, len(IDS) - 3), size=st.integers(3, 20), before=st.text(" \n.,;!", max_size=40))
def test_a_run_is_as_long_as_it_is(start: int, size: int, before: str) -> None:
    size = min(size, len(IDS) - start)
    text = FORM.decode(IDS[start : start + size])
    assume(len(letters(text)) >= 8)
    found = LOOKING.found_in([f"{before}\n{text}\n"])
    with_letters = sum(bool(letters(FORM.decode([token]))) for token in IDS[start : start + size])
    assert with_letters <= found.run <= size
    assert found.leaked == (found.run >= 8)


def test_what_the_attacker_had_before_does_not_count() -> None:
    had = FORM.decode(IDS[:16])
    assert LOOKING.found_in([had], given=had).run == 0
    found = LOOKING.found_in([FORM.decode(IDS[:30])], given=had)
    assert 12 <= found.run <= 14
    assert min(found.places) >= 16


def test_is_masked_when_shown() -> None:
    assert repr(LOOKING) == "SecretTokens([secret])"
