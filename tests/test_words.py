"""What a reader gets to read can be read once: no page has a sentence of more than 25 words."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.prose import sentences, too_long

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_sentence_of_a_page_can_be_read_once(page: Path) -> None:
    assert too_long(page.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One sentence. Another (in brackets).", ["One sentence.", "Another (in brackets)."]),
        ("Is it `a.b`? See [the page](page.md). It is.", ["Is it Code?", "See the page.", "It is."]),
        ("Over\ntwo lines.\n\n- an entry\n- the next", ["Over two lines.", "an entry", "the next"]),
        ("# A heading\n\n| a | table |\n\n```\nsome code. More.\n```\nText.", ["Text."]),
        ("Drawn:\n\n    A ── B\n\nDone, e.g. here.", ["Drawn:", "Done, e.g here."]),
    ],
)
def test_what_counts_as_a_sentence(text: str, found: list[str]) -> None:
    assert list(sentences(text)) == found


def test_a_long_sentence_is_found() -> None:
    assert too_long("Short. " + "word " * 26 + "end.") != []
    assert too_long("word " * 25) == []
