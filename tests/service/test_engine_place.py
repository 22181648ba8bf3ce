"""An engine is asked to forget an adapter; whatever it answers, a line of the log says how it went."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from support.gateway_parts import Scripted, respond, served
from watchword.service import engine_place
from watchword.service.engine_place import EnginePlace, free_port, unload

KEY = "ENGINE_KEY_OF_THIS_TEST"


def told(caplog: pytest.LogCaptureFixture) -> tuple[str, Any]:
    line: Any = caplog.records[-1].msg
    return line["event"], line.get("status")


@pytest.mark.parametrize(
    ("statuses", "asked", "line"),
    [
        ([200], 1, ("adapter unloaded", None)),
        ([404], 1, ("adapter unloaded", None)),
        ([429, 429, 200], 3, ("adapter unloaded", None)),
        ([429] * 9, 5, ("adapter is not unloaded", 429)),
        ([500], 1, ("adapter is not unloaded", 500)),
    ],
)
def test_what_the_engine_answers_is_logged(
    statuses: list[int],
    asked: int,
    line: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def script(upstream: Scripted, _: dict[str, Any], send: Any) -> None:
        await respond(send, b"{}", statuses[len(upstream.bodies) - 1])

    monkeypatch.setattr(engine_place, "_UNLOAD_WAIT", 0.0)
    monkeypatch.setenv(KEY, "k")
    engine = Scripted(script)
    with served(engine) as port, caplog.at_level(logging.INFO):
        asyncio.run(unload(EnginePlace(f"http://127.0.0.1:{port}/v1", "vllm", KEY), "ftm-1"))
    assert engine.bodies == [{"lora_name": "ftm-1"}] * asked
    assert {headers["authorization"] for headers in engine.headers} == {"Bearer k"}
    assert told(caplog) == line


def test_an_engine_that_is_away_or_loads_nothing(caplog: pytest.LogCaptureFixture) -> None:
    away = f"http://127.0.0.1:{free_port()}/v1"
    asyncio.run(unload(EnginePlace(away, "openai"), "ftm-1"))
    assert not caplog.records
    asyncio.run(unload(EnginePlace(away, "vllm"), "ftm-1"))
    assert told(caplog) == ("adapter is not unloaded", "no answer")
