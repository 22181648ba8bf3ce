"""Strangers' text on a page: it stays text, and what cannot be seen is shown."""

from __future__ import annotations

import html
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.outline import Outline
from watchword.pages.text import visible

UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def seen(char: str) -> bool:
    return char in "\n\t\u200c\u200d" or unicodedata.category(char) not in UNSEEN


@given(st.text())
def test_any_text_stays_text(text: str) -> None:
    shown = str(visible(text))
    outline = Outline(shown)
    assert set(outline.tags) <= {"span"}
    assert set(outline.attributes) <= {("class", "code")}
    without_codes = re.sub(r'<span class="code">U\+[0-9A-F]{4,6}</span>', "", shown)
    assert html.unescape(without_codes) == "".join(filter(seen, text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<b>&\"'", "&lt;b&gt;&amp;&#34;&#39;"),
        ("a\u202eb", 'a<span class="code">U+202E</span>b'),
        ("a\u200bb", 'a<span class="code">U+200B</span>b'),
        ("\x1b[31m", '<span class="code">U+001B</span>[31m'),
        ("\ud800", '<span class="code">U+D800</span>'),
        ("prix\u00a0: 5\u202f€", "prix\u00a0: 5\u202f€"),
        ("می\u200cخواهم 👩\u200d🔬", "می\u200cخواهم 👩\u200d🔬"),
        ("two\n\tlines", "two\n\tlines"),
    ],
)
def test_what_shows_nothing_is_shown_by_its_code(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_joiner_may_be_shown_too() -> None:
    assert visible("a\u200db", frozenset()) == 'a<span class="code">U+200D</span>b'
