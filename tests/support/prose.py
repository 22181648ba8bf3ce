"""Sentences of a page or a docstring, so that their length can be measured.

Left out is what nobody reads as a sentence: code blocks, tables, headings, comments and pictures. A list's entry is a
sentence of its own. Lines that are indented like a drawing, or laid out in columns, are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST = 25
_NOT_PROSE = (
    re.compile(r"```.*?```", re.DOTALL),
    re.compile(r"<!--.*?-->", re.DOTALL),
    re.compile(r"!\[[^\]]*\]\([^)]*\)"),
)
_LINK, _CODE = re.compile(r"\[([^\]]*)\]\([^)]*\)"), re.compile(r"``.*?``|`[^`]*`", re.DOTALL)
_COLUMNS = re.compile(r"\S {3,}\S")
_ENTRY = re.compile(r"(?:[-*]|\d+\.)\s+")
# A full stop, whatever closes after it, and the beginning of the next sentence.
_END = re.compile(r"(?<=[.!?])[\"')*_]*\s+(?=[\"'(*_A-Z0-9])")
_SHORT_FORMS = re.compile(r"\b(e\.g|i\.e|et al|vs|No)\.")


def sentences(text: str) -> Iterator[str]:
    """Every sentence of a page of Markdown, with each link as its text and each piece of code as one word."""
    for pattern in _NOT_PROSE:
        text = pattern.sub("\n\n" if "`" in pattern.pattern else "", text)
    for paragraph in _paragraphs(text):
        plain = _SHORT_FORMS.sub(r"\1", _CODE.sub("Code", _LINK.sub(r"\1", paragraph)))
        yield from (sentence for sentence in _END.split(plain) if sentence.strip())


def too_long(text: str, longest: int = LONGEST) -> list[str]:
    """The sentences that have more words than ``longest``."""
    return [sentence for sentence in sentences(text) if len(_words(sentence)) > longest]


def _words(sentence: str) -> list[str]:
    """What is read as a word: signs that stand alone (an arrow, a dash, a product's cross) are none."""
    return [word for word in sentence.split() if re.search(r"\w", word)]


def _paragraphs(text: str) -> Iterator[str]:
    """Lines that belong together, on one line."""
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        entry = _ENTRY.match(line.strip())
        left_out = not line.strip() or line.startswith("    ") or line.lstrip().startswith(("|", "#"))
        left_out = left_out or _COLUMNS.search(line) is not None
        if (left_out or entry) and lines:
            yield " ".join(lines)
            lines = []
        if not left_out:
            lines.append(line.strip()[entry.end() if entry else 0 :])
