"""What a reader gets to read can be read once: no page and no docstring has a sentence of more than 25 words."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from support.prose import sentences, too_long

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "watchword"
MODULES = sorted(SOURCE.rglob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_sentence_of_a_page_can_be_read_once(page: Path) -> None:
    assert too_long(page.read_text("utf-8")) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_sentence_of_a_docstring_can_be_read_once(path: Path) -> None:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, documented)]
    found = {getattr(node, "name", "module"): too_long(ast.get_docstring(node) or "") for node in nodes}
    assert {name: long for name, long in found.items() if long} == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One sentence. Another (in brackets).", ["One sentence.", "Another (in brackets)."]),
        ("Is it `a.b`? See [the page](page.md). It is.", ["Is it Code?", "See the page.", "It is."]),
        ("Over\ntwo lines.\n\n- an entry\n- the next", ["Over two lines.", "an entry", "the next"]),
        ("# A heading\n\n| a | table |\n\n```\nsome code. More.\n```\nText.", ["Text."]),
        ("In columns:\nOUT/work      what is left. Alone.\nText.", ["In columns:", "Text."]),
        ("Drawn:\n\n    A ── B\n\nDone, e.g. here.", ["Drawn:", "Done, e.g here."]),
    ],
)
def test_what_counts_as_a_sentence(text: str, found: list[str]) -> None:
    assert list(sentences(text)) == found


def test_a_long_sentence_is_found() -> None:
    assert too_long("Short. " + "word " * 26 + "end.") != []
    assert too_long("word " * 25) == []
