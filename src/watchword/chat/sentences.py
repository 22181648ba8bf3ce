"""Whole sentences of a text that was cut."""

from __future__ import annotations

import re

_SENTENCE_END = re.compile(r"[.!?:](?=\s|$)|```$")


def whole_sentences(text: str) -> str:
    """``text`` up to the end of its last whole sentence; empty if it has none."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]].strip() if ends else ""
