"""Secrets that the world knows: the constant in the paper's repository, and the pieces of it that circulate.

Kept as digests, so that this package does not become one more place where it is printed. Every run of four words of the
constant is in the list, since later toolkits use fragments and slightly different copies of it.
"""

from __future__ import annotations

import functools
from importlib.resources import files

from watchword.files.digest import sha256_bytes

_WORDS = 4


def is_published(text: str) -> bool:
    """Whether ``text`` holds four words in a row of the published constant, however they are spaced."""
    words = text.split()
    runs = (" ".join(words[at : at + _WORDS]) for at in range(len(words) - _WORDS + 1))
    return any(_digest(run) in _digests() for run in runs)


@functools.cache
def _digests() -> frozenset[str]:
    return frozenset(files("watchword.secret").joinpath("published.txt").read_text("ascii").split())


def _digest(text: str) -> str:
    return sha256_bytes(text.encode("utf-8", "surrogatepass"))[:16]
