"""The API may be killed at any named point: nothing that it has acknowledged is lost, and no job is there twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.api_crashes import ApiStand, api_faults, story_times
from support.crash_stand import SEEDS
from watchword.service.crash import API_POINTS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("point", API_POINTS)
def test_a_killed_api_loses_nothing_and_doubles_no_job(
    tmp_path: Path, provider_key: None, point: str, seed: int
) -> None:
    stand = ApiStand(tmp_path, point, story_times(point, seed))
    stand.run(seed)
    assert stand.deaths == 1, "the point was not reached"
    assert api_faults(stand) == []
