"""Calls are counted in the database a few at a time."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.errors import QuotaError
from watchword.service.api.pace import Pace
from watchword.service.types.tenants import Principal

TENANT = Principal("bakery", "key1")


class Counted:
    """A count of calls as the database keeps it, that never refills."""

    def __init__(self, most: int) -> None:
        self.most, self.spent, self.times = most, 0.0, 0

    def spend(self, principal: Principal, calls: float) -> None:
        if self.spent + calls > self.most:
            raise QuotaError("too many", retry_after=7)
        self.spent, self.times = self.spent + calls, self.times + 1


@given(st.integers(1, 5000), st.integers(1, 3000))
def test_no_key_makes_more_calls_than_it_may(per_minute: int, most: int) -> None:
    counted = Counted(most)
    pace = Pace(counted.spend, lambda tenant: per_minute, clock=lambda: 0.0)

    async def calls() -> int:
        made = 0
        for _ in range(most + 5):
            try:
                await pace.take(TENANT)
            except QuotaError:
                break
            made += 1
        return made

    made = asyncio.run(calls())
    taken = max(1, per_minute // 60)
    assert most - taken < made <= most
    assert counted.times <= made / taken + 1


def test_calls_that_lay_about_are_forgotten() -> None:
    counted, now = Counted(1000), [0.0]
    pace = Pace(counted.spend, lambda tenant: 600, clock=lambda: now[0])
    asyncio.run(pace.take(TENANT))
    now[0] = 60.0
    asyncio.run(pace.take(TENANT))
    assert counted.times == 2


def test_a_refusal_says_when_to_come_again() -> None:
    pace = Pace(Counted(0).spend, lambda tenant: 1)
    with pytest.raises(QuotaError) as refused:
        asyncio.run(pace.take(TENANT))
    assert refused.value.retry_after == 7


@given(st.integers(60, 3000), st.integers(1, 200))
def test_calls_that_come_together_share_what_is_taken(per_minute: int, calls: int) -> None:
    """A burst within the allowance is let through: none of it takes for itself what another has taken."""
    counted = Counted(per_minute)
    pace = Pace(counted.spend, lambda tenant: per_minute, clock=lambda: 0.0)

    async def together() -> list[BaseException | None]:
        return await asyncio.gather(*(pace.take(TENANT) for _ in range(calls)), return_exceptions=True)

    refused = [found for found in asyncio.run(together()) if found is not None]
    taken = per_minute // 60
    assert len(refused) == max(0, calls - per_minute // taken * taken)
    assert counted.times == -(-(calls - len(refused)) // taken)
    assert not pace._taking
