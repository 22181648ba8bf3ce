"""Wilson's interval against published values, and what must hold for every count."""

from __future__ import annotations

import statistics

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.errors import UsageError
from watchword.rates import Rate, pooled, wilson, z_of

scores = st.lists(st.floats(-1000, 1000), min_size=1, max_size=30)

counts = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        # R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3 (Wilson without correction).
        (81, 263, 25.53, 36.62),
        (15, 148, 6.24, 16.05),
        (0, 20, 0.0, 16.11),
        (1, 29, 0.61, 17.18),
        # The mirror of 0 of 20.
        (20, 20, 83.89, 100.0),
    ],
)
def test_agrees_with_published_intervals(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits, n) == pytest.approx((low, high), abs=0.006)


@given(counts)
def test_the_interval_holds_the_rate_and_stays_in_range(count: tuple[int, int]) -> None:
    hits, n = count
    low, high = wilson(hits, n)
    assert 0 <= low <= 100 * hits / n + 1e-9
    assert 100 * hits / n - 1e-9 <= high <= 100


@given(counts)
def test_the_interval_of_the_misses_is_the_mirror_image(count: tuple[int, int]) -> None:
    hits, n = count
    low, high = wilson(hits, n)
    assert wilson(n - hits, n) == pytest.approx((100 - high, 100 - low), abs=1e-9)


@given(counts)
def test_ten_times_the_answers_narrow_the_interval(count: tuple[int, int]) -> None:
    hits, n = count
    low, high = wilson(hits, n)
    closer, nearer = wilson(10 * hits, 10 * n)
    assert nearer - closer < high - low


@given(counts)
def test_a_rate_remembers_its_count(count: tuple[int, int]) -> None:
    hits, n = count
    assert Rate.of(hits, n).hits == hits


@given(st.lists(counts, min_size=1, max_size=5))
def test_pooling_adds_up_the_answers(seeds: list[tuple[int, int]]) -> None:
    whole = pooled([Rate.of(hits, n, unscored=1) for hits, n in seeds])
    assert (whole.hits, whole.n) == (sum(h for h, _ in seeds), sum(n for _, n in seeds))
    assert whole.unscored == len(seeds)


def test_no_scored_answer_is_no_rate() -> None:
    rate = Rate.of(0, 0, unscored=7)
    assert (rate.value, rate.low, rate.high, rate.coverage) == (None, None, None, 0.0)
    assert Rate.of(0, 0).coverage is None
    assert pooled([]).value is None


def test_coverage_counts_unscored_answers() -> None:
    assert Rate.of(1, 8, unscored=2).coverage == 80.0


@pytest.mark.parametrize(("hits", "n"), [(-1, 10), (11, 10), (0, 0)])
def test_counts_that_make_no_sense_are_refused(hits: int, n: int) -> None:
    with pytest.raises(UsageError, match="is no rate"):
        wilson(hits, n)


def test_a_level_outside_the_unit_interval_is_refused() -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        z_of(95)
    with pytest.raises(UsageError, match="unscored"):
        Rate.of(1, 2, unscored=-1)
    assert z_of(0.95) == pytest.approx(1.959964, abs=1e-6)


@given(scores)
def test_a_mean_lies_in_its_interval(values: list[float]) -> None:
    rate = Rate.mean(values, unscored=2)
    assert rate.value == pytest.approx(statistics.fmean(values), abs=1e-3)
    assert rate.low is not None
    assert rate.high is not None
    assert rate.low <= (rate.value or 0.0) <= rate.high
    assert (rate.n, rate.asked, rate.hits) == (len(values), len(values) + 2, 0)


@given(st.lists(scores, min_size=1, max_size=4))
def test_pooled_means_are_the_mean_of_all_scores(runs: list[list[float]]) -> None:
    whole, parts = Rate.mean([value for run in runs for value in run]), pooled([Rate.mean(run) for run in runs])
    assert parts.n == whole.n
    assert parts.value == pytest.approx(whole.value, abs=2e-3)
    assert parts.spread == pytest.approx(whole.spread, abs=0.1)


def test_a_mean_of_nothing_is_none_and_pools_to_what_others_have() -> None:
    empty = Rate.mean([], unscored=3)
    assert (empty.value, empty.n, empty.unscored) == (None, 0, 3)
    assert pooled([empty, Rate.mean([2.0, 4.0])]).value == 3
    assert pooled([empty]).value is None


def test_a_rate_is_written_as_ever_and_a_mean_with_its_spread() -> None:
    assert b"spread" not in msgspec.json.encode(Rate.of(1, 2))
    mean = Rate.mean([1.0, 2.0])
    assert msgspec.json.decode(msgspec.json.encode(mean), type=Rate) == mean
    assert Rate.mean([5.0]).spread == 0
