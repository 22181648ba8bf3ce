"""Keys that an object has twice: a parser keeps one of the two values and drops the other without a word."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any


def keys_twice(text: bytes | str) -> list[str]:
    """Every such key in JSON that a parser takes. Raises RecursionError where it is nested too deeply."""
    twice: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        if len(dict(pairs)) < len(pairs):
            twice.extend(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)

    json.loads(text, object_pairs_hook=note, parse_int=str, parse_float=str)
    return twice
