"""The sequential test keeps its error rates, and stops as early as it can."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.errors import UsageError
from watchword.service.gate.sequential import Decision, SequentialTest
from watchword.service.settings import GateThresholds

TEST = SequentialTest(fine=0.05, bad=0.2, error=0.05, most=100)


def chance(test: SequentialTest, rate: float, wanted: Decision) -> float:
    """Exactly: the chances of all counts of hits at which the test still goes on, trial by trial."""
    going, found = {0: 1.0}, 0.0
    for trials in range(1, test.most + 1):
        after: dict[int, float] = {}
        for hits, held in going.items():
            for more, part in ((1, rate), (0, 1 - rate)):
                decision = test.decide(hits + more, trials)
                if decision is Decision.OPEN:
                    after[hits + more] = after.get(hits + more, 0.0) + held * part
                elif decision is wanted:
                    found += held * part
        going = after
    return found


@pytest.mark.parametrize("rate", [0.2, 0.3, 0.9])
def test_a_bad_rate_passes_no_oftener_than_it_may(rate: float) -> None:
    assert chance(TEST, rate, Decision.PASSED) <= 0.05


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.05])
def test_a_fine_rate_fails_no_oftener_than_it_may(rate: float) -> None:
    # With room for all the trials that it wants: what is undecided at the end counts as failed.
    assert chance(SequentialTest(0.05, 0.2, 0.05, most=1000), rate, Decision.FAILED) <= 0.05


def test_it_stops_as_soon_as_the_verdict_is_clear() -> None:
    assert TEST.wanted(0, 0) == 18
    assert TEST.decide(0, 17) is Decision.OPEN
    assert TEST.decide(0, 18) is Decision.PASSED
    assert TEST.decide(3, 3) is Decision.FAILED
    assert TEST.decide(2, 2) is Decision.OPEN


def test_undecided_at_the_end_is_failed() -> None:
    short = SequentialTest(0.05, 0.2, 0.05, most=20)
    assert short.decide(2, 19) is Decision.OPEN
    assert short.decide(2, 20) is Decision.FAILED


@given(
    fine=st.floats(0.01, 0.4),
    gap=st.floats(0.05, 0.5),
    error=st.floats(0.001, 0.4),
    most=st.integers(1, 300),
    seed=st.integers(0, 10**6),
)
def test_what_it_wants_decides_if_nothing_hits(fine: float, gap: float, error: float, most: int, seed: int) -> None:
    test = SequentialTest(fine, min(0.99, fine + gap), error, most)
    rng = random.Random(seed)
    hits = trials = 0
    while test.decide(hits, trials) is Decision.OPEN:
        wanted = test.wanted(hits, trials)
        assert trials + wanted <= most
        assert test.decide(hits, trials + wanted) is not Decision.OPEN
        assert wanted == 1 or test.decide(hits, trials + wanted - 1) is Decision.OPEN
        hits += rng.random() < fine
        trials += 1


@pytest.mark.parametrize(
    "wrong", [{"fine": 0.0}, {"bad": 0.05}, {"bad": 1.0}, {"error": 0.5}, {"error": 0.0}, {"most": 0}]
)
def test_senseless_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="a sequential test takes 0 < fine < bad < 1"):
        SequentialTest(**{"fine": 0.05, "bad": 0.2, "error": 0.05, "most": 100} | wrong)  # type: ignore[arg-type]


@given(bad=st.floats(0.02, 0.95), error=st.floats(0.01, 0.4))
def test_a_gate_that_nothing_could_pass_is_refused(bad: float, error: float) -> None:
    fewest = GateThresholds(error_rate=error, most_prompts=10_000).test_of(bad).fewest
    test = GateThresholds(error_rate=error, most_prompts=10_000).test_of(bad)
    assert test.decide(0, fewest) is Decision.PASSED
    assert fewest == 1 or test.decide(0, fewest - 1) is Decision.OPEN
    if fewest > 1:
        with pytest.raises(ValueError, match="no model can pass most_attack_success with fewer than"):
            GateThresholds(most_attack_success=bad, most_over_refusal=0.9, error_rate=error, most_prompts=fewest - 1)
