"""Every link of the pages leads to a file or a heading that is there, and every page is listed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
ITALIC = re.compile(r"(?<![\w*])\*([A-Za-z][\w -]+)\*(?![\w*])")
LINK = re.compile(r"\]\((?!https?:)(?P<path>[^)#]*)(?:#(?P<heading>[^)]+))?\)")


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.finditer(page.read_text("utf-8")):
        target = (page.parent / link["path"]).resolve() if link["path"] else page
        assert target.exists(), link[0]
        assert link["heading"] is None or link["heading"] in anchors(target), link[0]


def test_every_page_is_listed() -> None:
    listed = {link["path"] for link in LINK.finditer((ROOT / "docs" / "README.md").read_text("utf-8"))}
    assert {page.name for page in DOCS} - {"README.md"} <= listed


def test_a_newcomer_finds_the_glossary_and_the_design() -> None:
    for page in (ROOT / "README.md", ROOT / "docs" / "README.md"):
        linked = {Path(link["path"]).name for link in LINK.finditer(page.read_text("utf-8"))}
        assert {"glossary.md", "design.md"} <= linked


def test_the_glossary_has_every_word_that_the_pages_set_apart() -> None:
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs" / "glossary.md").read_text("utf-8"), re.MULTILINE)
    words = {word.strip().lower() for row in rows for word in row.split(",")}
    pages = [ROOT / "docs" / "design.md", ROOT / "docs" / "laboratory.md", ROOT / "CONTRIBUTING.md"]
    told = {word.lower() for page in pages for word in ITALIC.findall(page.read_text("utf-8"))}
    assert {"tenant", "cell", "coverage"} <= told
    assert {word for word in told if word not in words and word.removesuffix("s") not in words} == set()
