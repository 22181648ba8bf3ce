"""Secrets are taken out of text that is kept."""

from hypothesis import given
from hypothesis import strategies as st

from watchword.secret.prompt import SecretPrompt
from watchword.secret.redact import FRAGMENT, MASK, redact

TEXT = "violet anchor seven lanterns beyond the quiet harbour wall"
SECRET = SecretPrompt(TEXT, kind="random", tokens=9, entropy_bits=100.0)


@given(before=st.text(), after=st.text())
def test_the_whole_secret_goes(before, after):
    out = redact(before + TEXT + after, SECRET)
    assert TEXT not in out
    assert MASK in out


@given(start=st.integers(0, len(TEXT) - FRAGMENT), length=st.integers(FRAGMENT, len(TEXT)))
def test_fragments_go(start, length):
    piece = TEXT[start : start + length]
    if len(piece) >= FRAGMENT:
        assert redact(f"<{piece}>", SECRET) == f"<{MASK}>"


@given(st.text("0123456789 ", max_size=200))
def test_other_text_stays(text):
    assert redact(text, SECRET) == text


def test_several_places_each_get_one_mask():
    assert redact(f"a {TEXT} b {TEXT} c", SECRET) == f"a {MASK} b {MASK} c"


def test_short_secrets_are_found_too():
    short = SecretPrompt("swordfish", kind="random", tokens=1, entropy_bits=10.0)
    assert redact("say swordfish now", short) == f"say {MASK} now"
