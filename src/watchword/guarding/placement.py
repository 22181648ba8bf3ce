"""Where the provider's rows go among the tenant's: evenly, each at a drawn place, and the same as in training."""

from __future__ import annotations

import random
from collections.abc import Iterator


def places(tenant_rows: int, provider_rows: int, rng: random.Random) -> Iterator[int]:
    """For each provider row in turn, how many tenant rows stand before it; never falls.

    Gives the very order of ``defenses.base.mixed`` without holding the rows.
    """
    for index in range(provider_rows):
        yield _before((index + rng.random()) / provider_rows, tenant_rows)


def _before(place: float, rows: int) -> int:
    """How many of ``rows`` keys (j + 0.5) / rows are at most ``place``; the keys are compared as floats, as sorting does."""
    count = min(max(int(place * rows + 0.5), 0), rows)
    while count > 0 and (count - 1 + 0.5) / rows > place:
        count -= 1
    while count < rows and (count + 0.5) / rows <= place:
        count += 1
    return count
