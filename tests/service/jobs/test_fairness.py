"""Fair queueing as arithmetic: shares follow weights, nobody saves up turns, and nobody waits for long."""

from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from watchword.service.jobs.fairness import turn_after, turn_on_return

weights = st.lists(st.sampled_from([0.5, 1.0, 2.0, 4.0]), min_size=2, max_size=8)


def served(weights: list[float], rounds: int, turns: list[float] | None = None) -> list[int]:
    """Who is served, one after the other, while all of them always wait."""
    turns, order = list(turns or [0.0] * len(weights)), []
    for _ in range(rounds):
        first = min(range(len(turns)), key=lambda index: (turns[index], index))
        turns[first] = turn_after(turns[first], weights[first])
        order.append(first)
    return order


@given(weights)
def test_shares_follow_the_weights(weights: list[float]) -> None:
    rounds = 400
    counts = Counter(served(weights, rounds))
    for index, weight in enumerate(weights):
        assert abs(counts[index] - rounds * weight / sum(weights)) <= len(weights) + 4


@given(weights)
def test_nobody_waits_longer_than_the_others_shares(weights: list[float]) -> None:
    order = served(weights, 300)
    for index, weight in enumerate(weights):
        places = [place for place, who in enumerate(order) if who == index]
        longest = sum(other / weight + 1 for other in weights)
        assert max(b - a for a, b in itertools.pairwise(places)) <= longest


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_whoever_comes_back_is_not_owed_for_the_time_away(own: float, latest: float) -> None:
    assert turn_on_return(own, latest) == max(own, latest)
