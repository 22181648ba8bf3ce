"""Turns are shared by weight and cost: whoever brings much holds up nobody who brings little."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.service.turns import FairTurns

Asked = Sequence[tuple[str, float]]


def served(asked: Asked, weights: dict[str, float] | None = None) -> list[str]:
    """Whose turns come after one another, when all are asked for while somebody has the first."""

    async def go() -> list[str]:
        turns, order = FairTurns(lambda tenant: (weights or {}).get(tenant, 1.0)), []

        async def one(tenant: str, cost: float) -> None:
            async with turns.turn(tenant, cost):
                order.append(tenant)
                await asyncio.sleep(0)

        await asyncio.gather(*(one(tenant, cost) for tenant, cost in asked))
        assert turns._tenants == {} or all(not place.queue for place in turns._tenants.values())
        return order

    return asyncio.run(go())


def test_a_tenants_one_file_does_not_wait_for_anothers_hundred() -> None:
    order = served([("many", 1.0)] * 100 + [("one", 1.0)])
    assert order.index("one") <= 2


def test_a_large_file_costs_what_it_takes() -> None:
    order = served([("large", 10.0)] * 5 + [("small", 1.0)] * 20)
    assert Counter(order[:12])["small"] >= 9


def test_a_greater_weight_is_a_greater_share() -> None:
    order = served([("light", 1.0)] * 40 + [("heavy", 1.0)] * 40, {"heavy": 3.0})
    assert 27 <= Counter(order[:40])["heavy"] <= 33


@given(asked=st.lists(st.tuples(st.sampled_from("abc"), st.floats(1, 50)), max_size=30))
def test_everybody_is_served_once_and_in_the_order_of_its_own(asked: Asked) -> None:
    assert Counter(served(asked)) == Counter(tenant for tenant, _ in asked)


@pytest.mark.parametrize("granted", [False, True])
def test_a_turn_that_nobody_wants_any_more_goes_to_the_next(granted: bool) -> None:
    async def go() -> list[str]:
        turns, told, hold = FairTurns(lambda _: 1.0), [], asyncio.Event()

        async def one(name: str) -> None:
            async with turns.turn(name, 1.0):
                told.append(name)
                await hold.wait()

        first, second, third = (asyncio.create_task(one(name)) for name in "abc")
        await asyncio.sleep(0)
        if granted:
            # The first is over, and the second has its turn and has not been told of it.
            hold.set()
            while not first.done():
                await asyncio.sleep(0)
        second.cancel()
        hold.set()
        found: Any = await asyncio.gather(first, second, third, return_exceptions=True)
        assert found[0] is None and found[2] is None
        async with turns.turn("d", 1.0):
            told.append("d")
        return told

    told = asyncio.run(go())
    assert [name for name in told if name != "b"] == ["a", "c", "d"]


def test_whoever_gives_up_as_a_turn_ends_stops_nobody() -> None:
    async def go() -> list[str]:
        turns, told, hold = FairTurns(lambda _: 1.0), [], asyncio.Event()

        async def one(name: str) -> None:
            async with turns.turn(name, 1.0):
                told.append(name)
                await hold.wait()

        first, second, third = (asyncio.create_task(one(name)) for name in "abc")
        await asyncio.sleep(0)
        # The first hears of its end before the second hears that it is cancelled.
        hold.set()
        second.cancel()
        found: Any = await asyncio.wait_for(asyncio.gather(first, second, third, return_exceptions=True), 5)
        assert [type(result) for result in found] == [type(None), asyncio.CancelledError, type(None)]
        return told

    assert asyncio.run(go()) == ["a", "c"]
