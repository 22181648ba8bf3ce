"""The kinds of rows that a provider mixes in, and how they are counted: by name, so that a defense may bring its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class RowOrigin:
    """A kind of the provider's rows: its ``name`` in counts, and a ``heading`` for people, said of many ("anchors")."""

    name: str
    heading: str


def count_origins(names: Iterable[str]) -> dict[str, int]:
    """How often each origin stands among these, by name."""
    return dict(sorted(Counter(names).items()))


def in_order(names: Iterable[str], origins: Iterable[RowOrigin]) -> dict[str, str]:
    """Name → heading of these origins: known ones in their own order, then the others, which are called by their names."""
    there = set(names)
    known = {origin.name: origin.heading for origin in origins if origin.name in there}
    return known | {name: name for name in sorted(there - known.keys())}


def described(counts: Mapping[str, int], origins: Iterable[RowOrigin]) -> str:
    """``11 safety examples, 32 anchors``; empty where nothing was counted."""
    return ", ".join(f"{counts[name]} {heading}" for name, heading in in_order(counts, origins).items())
