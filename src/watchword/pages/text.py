"""Text of strangers on a page: escaped, and with its invisible characters shown by their codes."""

from __future__ import annotations

import re
import unicodedata

from markupsafe import Markup, escape

# What is kept as it is: line ends, tabs, and the joiners that emoji and several scripts are written with.
_KEPT = frozenset("\n\t\u200c\u200d")
_PLAIN = re.compile(r"[\n\t\x20-\x7e]*")


def visible(text: str, kept: frozenset[str] = _KEPT) -> Markup:
    """The text as markup. A character that shows nothing, or would reorder its surroundings, becomes ``U+202E`` or the like."""
    if _PLAIN.fullmatch(text):
        return escape(text)
    return Markup("").join(escape(char) if _shows(char, kept) else _code(char) for char in text)


def _shows(char: str, kept: frozenset[str]) -> bool:
    return char in kept or char.isprintable() or unicodedata.category(char) == "Zs"


def _code(char: str) -> Markup:
    return Markup('<span class="code">U+{:04X}</span>').format(ord(char))
