"""A tenant's upload as a defense sees it: counts, frequent system texts, and a few sampled rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from watchword.chat.types import Conversation, Row

# Tenant rows that a defense may look at: enough to see what a file is about, few enough to hold.
SAMPLE = 1_000
# Different system texts that provider rows take in turn.
SYSTEMS = 8


@dataclass(frozen=True)
class Upload:
    """What a defense needs to know of the tenant's rows, so that a file of any size can be guarded without holding it.

    ``rows`` counts them all; ``systems`` are system texts seen among them (None: a row without one), most frequent
    first. ``sample`` are rows from all over the upload; none where no model is at hand to answer them.
    """

    rows: int
    systems: tuple[str | None, ...] = (None,)
    sample: tuple[Conversation, ...] = ()

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Upload:
        """The profile of rows that are at hand."""
        sample = tuple(rows[place].conversation for place in sample_places(len(rows)))
        return cls.counted(len(rows), Counter(row.conversation.system for row in rows), sample)

    @classmethod
    def counted(cls, rows: int, systems: Mapping[str | None, int], sample: tuple[Conversation, ...] = ()) -> Upload:
        """The profile of rows whose system texts were counted on the way; the most frequent of these are kept."""
        ordered = sorted(systems, key=lambda text: -systems[text])
        return cls(rows, tuple(ordered[:SYSTEMS]) or (None,), sample)


def sample_places(rows: int) -> list[int]:
    """Which of so many rows are the upload's sample (from 0): all of them, or ``SAMPLE`` evenly over all."""
    return evenly(rows, SAMPLE)


def evenly(rows: int, most: int) -> list[int]:
    """All of so many places (from 0), or ``most`` of them evenly over all."""
    return list(range(rows)) if rows <= most else [index * rows // most for index in range(most)]
