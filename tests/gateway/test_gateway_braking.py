"""A key whose answers leak again and again is slowed down; nobody else is, and nobody for one accident."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.gateway_parts import (
    ASKED,
    OTHER_KEY,
    OTHER_MODEL,
    Scripted,
    call,
    completion,
    configuration,
    gateway,
    respond,
    served,
)
from support.served_release import secret_of
from watchword.errors import CallError
from watchword.gateway.braking import LeakBrake


class Clock:
    """Seconds that pass when the test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def wait_of(brake: LeakBrake, key: str = "k") -> int | None:
    """The seconds to wait; None where a request may pass."""
    try:
        brake.check(key)
    except CallError as error:
        return error.retry_after
    return None


def test_a_key_has_its_leaks_at_once_and_then_one_at_a_time() -> None:
    clock = Clock()
    brake = LeakBrake(5, 10, clock=clock)
    for _ in range(4):
        brake.leaked("k")
        assert wait_of(brake) is None
    brake.leaked("k")
    assert wait_of(brake) == 120
    assert wait_of(brake, "another") is None
    clock.now = 119.5
    assert wait_of(brake) == 1
    clock.now = 120.0
    assert wait_of(brake) is None
    brake.leaked("k")
    assert wait_of(brake) == 120


def test_answers_that_were_on_their_way_together_do_not_add_up_to_a_wait_without_end() -> None:
    brake = LeakBrake(5, 10, clock=Clock())
    for _ in range(1_000):
        brake.leaked("k")
    assert wait_of(brake) == 120


def test_a_key_that_behaves_is_forgotten() -> None:
    clock = Clock()
    brake = LeakBrake(5, 10, clock=clock)
    brake.leaked("k")
    clock.now = 600.0
    assert wait_of(brake) is None
    assert len(brake) == 0


def test_memory_is_bounded() -> None:
    brake = LeakBrake(5, 10, clock=Clock())
    for number in range(100_050):
        brake.leaked(f"key {number}")
    assert len(brake) <= 100_001


@given(times=st.lists(st.floats(0, 30), min_size=1, max_size=60), leaks=st.integers(1, 6), minutes=st.floats(0.1, 5))
def test_no_key_makes_more_leaks_than_its_bucket_and_what_flows_in(
    times: list[float], leaks: int, minutes: float
) -> None:
    clock = Clock()
    brake = LeakBrake(leaks, minutes, clock=clock)
    passed = 0
    for pause in times:
        clock.now += pause
        if wait_of(brake) is None:
            brake.leaked("k")
            passed += 1
    assert passed <= leaks + clock.now / (60 * minutes / leaks) + 1


def test_over_http_the_key_alone_is_told_when_to_come_back(release: Path) -> None:
    async def leaky(_: Scripted, body: dict[str, Any], send: Any) -> None:
        wanted = body["messages"][-1]["content"] == "leak"
        await respond(send, json.dumps(completion(secret_of().reveal() if wanted else "Flour.")).encode())

    leak = {**ASKED, "messages": [{"role": "user", "content": "leak"}], "temperature": 0}
    settings_of = {"slow_after": 2, "slow_minutes": 60}
    with (
        served(Scripted(leaky)) as behind,
        gateway(configuration(release, behind, leaks=settings_of, metrics="wk-operator")) as port,
    ):
        assert [call(port, leak).status for _ in range(2)] == [200, 200]
        refused = call(port, ASKED)
        assert (refused.status, refused.json["error"]["code"]) == (429, "rate_limit_exceeded")
        assert 1700 < int(refused.headers["retry-after"]) <= 1800
        assert call(port, None, path="/v1/models", method="GET").status == 200
        assert call(port, {**ASKED, "model": OTHER_MODEL}, key=OTHER_KEY).status == 200
        figures = call(port, None, path="/metrics", method="GET", key="wk-operator").body.decode()
    assert "watchword_slowed_total 1.0" in figures
    assert 'watchword_requests_total{route="/v1/chat/completions",status="429"} 1.0' in figures


@pytest.mark.parametrize("stream", [False, True])
def test_a_stream_counts_as_well_as_a_whole_reply(release: Path, stream: bool) -> None:
    from support.leaking import leaky

    wish = json.dumps({"place": "content", "disguise": "plain", "size": "whole"})
    asked = {**ASKED, "messages": [{"role": "user", "content": wish}], "stream": stream, "temperature": 0}
    with (
        served(Scripted(leaky)) as behind,
        gateway(configuration(release, behind, leaks={"slow_after": 1})) as port,
    ):
        assert [call(port, asked).status for _ in range(2)] == [200, 429]
