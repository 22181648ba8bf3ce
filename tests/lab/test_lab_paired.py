"""McNemar's exact test against known values and its definition; the bootstrap against what it must give."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.errors import UsageError
from watchword.lab.paired import bootstrap, compared, mcnemar


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        # binomtest(k, n).pvalue of scipy 1.17.1.
        (5, 15, 0.04138946533203125),
        (15, 5, 0.04138946533203125),
        (0, 6, 0.03125),
        (1, 9, 0.021484375),
        (59, 6, 4.964650327128616e-12),
        (121, 59, 4.4344492637551645e-06),
        (17, 40, 0.0032015437674503813),
        (4200, 3800, 8.126091533902667e-06),
        (3, 3, 1.0),
        (0, 0, 1.0),
    ],
)
def test_known_values(only_first: int, only_second: int, p: float) -> None:
    assert mcnemar(only_first, only_second) == pytest.approx(p, rel=1e-9, abs=0)


@pytest.mark.parametrize(
    ("only_first", "only_second"), [(a, b) for a, b in itertools.product(range(6), range(6)) if a + b]
)
def test_p_is_the_share_of_splits_at_least_as_uneven(only_first: int, only_second: int) -> None:
    differ = only_first + only_second
    splits = [sum(sides) for sides in itertools.product((0, 1), repeat=differ)]
    as_uneven = [split for split in splits if abs(split - differ / 2) >= abs(only_first - differ / 2)]
    assert mcnemar(only_first, only_second) == pytest.approx(len(as_uneven) / 2**differ)


def test_thousands_of_pairs_do_not_underflow() -> None:
    assert mcnemar(4000, 4000) == 1.0
    # The normal approximation with continuity correction is close there.
    z = (abs(4200 - 3800) - 1) / math.sqrt(8000)
    assert mcnemar(4200, 3800) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.02)


def test_counts_below_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="no counts"):
        mcnemar(-1, 2)


def test_the_interval_is_that_of_a_mean_of_many_prompts() -> None:
    pairs = {str(n): [(n % 10 < 6, n % 10 < 3)] for n in range(400)}
    found = compared(pairs)
    assert (found.first, found.second, found.difference) == (60.0, 30.0, -30.0)
    assert (found.only_first, found.only_second, found.pairs, found.prompts) == (120, 0, 400, 400)
    # The differences are -1 or 0 with a share of 0.3; percent, normal interval.
    half = 1.96 * 100 * math.sqrt(0.3 * 0.7 / 400)
    assert found.low == pytest.approx(-30 - half, abs=0.8)
    assert found.high == pytest.approx(-30 + half, abs=0.8)


def test_seeds_of_one_prompt_hang_together() -> None:
    """Three equal seeds say no more than one: the interval stays, where taking them for independent would narrow it."""
    one = {str(n): [(n % 2 == 0, n % 3 == 0)] for n in range(120)}
    three = {prompt: own * 3 for prompt, own in one.items()}
    assert bootstrap(list(three.values())) == bootstrap(list(one.values()))
    assert (compared(three).pairs, compared(three).prompts) == (360, 120)


@given(st.lists(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=3), min_size=1, max_size=12))
def test_the_interval_holds_the_difference_and_turns_with_the_sides(clusters: list[list[tuple[bool, bool]]]) -> None:
    low, high = bootstrap(clusters, resamples=400)
    assert -100 <= low <= high <= 100
    turned = bootstrap([[(b, a) for a, b in own] for own in clusters], resamples=400)
    assert turned == pytest.approx((-high, -low))
    same = [[(a, a) for a, _ in own] for own in clusters]
    assert bootstrap(same, resamples=50) == (0, 0)


def test_nothing_to_compare() -> None:
    with pytest.raises(UsageError, match="ask the same prompts"):
        compared({}, unpaired=3)
