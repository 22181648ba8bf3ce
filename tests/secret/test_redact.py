"""Secrets are taken out of text that is kept or shown, whole or as it comes."""

from __future__ import annotations

import copy
import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.errors import SecretError
from watchword.secret.prompt import SecretPrompt
from watchword.secret.redact import FRAGMENT, MASK, Redactor, redact

TEXT = "violet anchor seven lanterns beyond the quiet harbour wall"
SECRET = SecretPrompt(TEXT, kind="random", tokens=9, entropy_bits=100.0)
# Its stretches overlap with themselves and with one another.
LOOPED = SecretPrompt("abababababababababacabababababababab", kind="random", tokens=9, entropy_bits=100.0)
SHORT = SecretPrompt("swordfish", kind="random", tokens=1, entropy_bits=10.0)
SECRETS = [SECRET, LOOPED, SHORT, SecretPrompt("x", kind="random", tokens=1, entropy_bits=1.0)]


def texts_of(secret: SecretPrompt) -> st.SearchStrategy[str]:
    """Texts of pieces of the secret, long and short, side by side and with other text between them."""
    text = secret.reveal()
    ends = st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))
    part = ends.map(lambda pair: text[min(pair) : max(pair)])
    return st.lists(part | st.just(text) | st.text(" abswordfishZé\n", max_size=6), max_size=8).map("".join)


@st.composite
def cut_texts(draw: st.DrawFn) -> tuple[SecretPrompt, list[str]]:
    """A secret, and a text in pieces: cut anywhere, empty pieces included."""
    secret = draw(st.sampled_from(SECRETS))
    text = draw(texts_of(secret))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=20)))
    return secret, [text[at:end] for at, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(before=st.text(), after=st.text())
def test_the_whole_secret_goes(before: str, after: str) -> None:
    out = redact(before + TEXT + after, SECRET)
    assert TEXT not in out
    assert MASK in out


@given(start=st.integers(0, len(TEXT) - FRAGMENT), length=st.integers(FRAGMENT, len(TEXT)))
def test_fragments_go(start: int, length: int) -> None:
    piece = TEXT[start : start + length]
    if len(piece) >= FRAGMENT:
        assert redact(f"<{piece}>", SECRET) == f"<{MASK}>"


@given(st.text("0123456789 ", max_size=200))
def test_other_text_stays(text: str) -> None:
    assert redact(text, SECRET) == text


@given(
    st.text(max_size=5), st.sampled_from(SECRETS).flatmap(lambda secret: st.tuples(st.just(secret), texts_of(secret)))
)
def test_a_mask_stands_for_each_run_of_stretches(mask: str, case: tuple[SecretPrompt, str]) -> None:
    """What a plain search gives: the characters of all stretches, with one mask for those that touch."""
    (secret, text), size = case, min(FRAGMENT, len(case[0].reveal()))
    found = [at for at in range(len(text) - size + 1) if text[at : at + size] in secret.reveal()]
    hidden = {place for at in found for place in range(at, at + size)}
    wanted = [text[at] if at not in hidden else "" if at - 1 in hidden else mask for at in range(len(text))]
    assert redact(text, secret, mask) == "".join(wanted)


def test_several_places_each_get_one_mask() -> None:
    assert redact(f"a {TEXT} b {TEXT} c", SECRET) == f"a {MASK} b {MASK} c"


def test_short_secrets_are_found_too() -> None:
    assert redact("say swordfish now", SHORT) == f"say {MASK} now"


@given(cut_texts())
def test_a_text_in_pieces_comes_out_as_the_whole(case: tuple[SecretPrompt, list[str]]) -> None:
    secret, pieces = case
    redactor = Redactor(secret)
    out = [redactor.feed(piece) for piece in pieces]
    assert "".join(out) + redactor.finish() == redact("".join(pieces), secret)
    assert redactor.finish() == ""


@given(cut_texts())
def test_nothing_is_held_back_that_no_later_text_can_change(case: tuple[SecretPrompt, list[str]]) -> None:
    """Whatever the text goes on with, what was given out is how it begins; and of what all ways share, all is out."""
    secret, pieces = case
    redactor, text, out = Redactor(secret), "", ""
    plain = secret.reveal()
    ways = ["", "#", *(plain[at:] for at in range(len(plain)))]
    for piece in pieces:
        text, out = text + piece, out + redactor.feed(piece)
        whole = [redact(text + way, secret) for way in ways]
        assert all(each.startswith(out) for each in whole)
        assert len({each[len(out) : len(out) + 1] for each in whole}) > 1


def test_text_that_begins_no_stretch_is_given_out_at_once() -> None:
    redactor = Redactor(SECRET)
    assert [redactor.feed(piece) for piece in ("42", "MILES", "ok?")] == ["42", "MILES", "ok?"]
    assert [redactor.feed(piece) for piece in ("viol", "in", "?")] == ["", "violi", "n?"]


def test_a_long_text_in_small_pieces_takes_linear_time() -> None:
    """Half a million characters, each a piece of its own, and one end after another that looks like the secret's beginning."""
    text = (TEXT[: FRAGMENT - 1] + "#") * 30_000
    redactor, start = Redactor(SECRET), time.process_time()
    assert sum(len(redactor.feed(letter)) for letter in text) == len(text)
    assert redact(text, SECRET) == text
    assert time.process_time() - start < 30


@pytest.mark.parametrize("leak", [repr, str, pickle.dumps, copy.deepcopy])
def test_a_redactor_does_not_show_its_secret(leak: object) -> None:
    redactor = Redactor(SECRET)
    redactor.feed(TEXT[:10])
    try:
        shown = str(leak(redactor))  # type: ignore[operator]
    except SecretError as error:
        shown = str(error)
    assert not any(TEXT[at : at + 6] in shown for at in range(len(TEXT) - 6))
