"""A worker or a job's process may be killed at any named point: no job is lost, and none has two outcomes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from support.crash_stand import SEEDS, Stand, faults, times_of
from support.service_jobs import behave
from support.stores import s3_store
from watchword.files.remote import RemoteFolder
from watchword.release.artifact import MANIFEST
from watchword.service import crash
from watchword.service.crash import ASKED_BY, CHILD_POINTS, STORE_POINTS, WORKER_POINTS
from watchword.service.settings import PlaceSettings

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
# Longer than a worker waits for a core; only a killed worker's lease must run out.
SLOW_MACHINE = 300.0


def takes(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """How long a step of every training takes from now on."""
    behave(monkeypatch, seconds=seconds)


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    takes(monkeypatch, 0.03)
    return Stand(tmp_path)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("point", WORKER_POINTS)
def test_a_killed_worker_loses_no_job(stand: Stand, point: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    job = stand.service.job()
    if point == "after_heartbeat":
        # Far longer than the heartbeats before the kill: it must not be over by then.
        takes(monkeypatch, 5.0)
    with stand.killing(point, times_of(point, seed)):
        assert stand.worker_ends() == -signal.SIGKILL
    takes(monkeypatch, 0.03)
    before = stand.service.now(job)
    assert stand.worker_ends() == 0
    assert faults(stand.service, job) == []
    if before.state.terminal:
        assert stand.service.now(job) == before


@pytest.mark.parametrize("point", [*STORE_POINTS, "after_publish", "before_finish", "after_finish"])
def test_in_an_object_store_a_killed_worker_leaves_one_whole_release(
    tmp_path: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes(monkeypatch, 0.0)
    with s3_store() as store:
        stand = Stand(tmp_path, place=PlaceSettings(storage=f"{store}/blobs", releases=f"{store}/releases"))
        job = stand.service.job()
        with stand.killing(point, 2 if point in STORE_POINTS else 1):
            assert stand.worker_ends() == -signal.SIGKILL
        if point in STORE_POINTS:
            left = RemoteFolder(f"{store}/releases").below()
            assert len(left) == 2
            assert not any(name.endswith(MANIFEST) for name in left)
        assert stand.worker_ends() == 0
        assert faults(stand.service, job) == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("point", CHILD_POINTS)
def test_a_killed_process_of_a_job_is_started_again_where_it_was(stand: Stand, point: str, seed: int) -> None:
    stand.lease = SLOW_MACHINE
    job = stand.service.job()
    with stand.killing(point, times_of(point, seed)):
        assert stand.worker_ends() == 0
    assert faults(stand.service, job) == []
    # Only operators are told of the death.
    assert [event for event in stand.service.events(job, private=True) if "was killed (SIGKILL)" in event.message]
    assert not [event for event in stand.service.events(job) if "SIGKILL" in event.message]
    steps = [event.data["step"] for event in stand.service.events(job) if event.type == "metrics"]
    assert sorted(set(steps)) == [1, 2, 3, 4]


def test_every_point_stands_in_the_code() -> None:
    source = Path(crash.__file__).parent
    code = "".join(path.read_text() for path in source.rglob("*.py") if path.name != "crash.py")
    missing = [
        name
        for name in (*WORKER_POINTS, *STORE_POINTS, *CHILD_POINTS, *crash.API_POINTS)
        if f'crash_point("{name}")' not in code
    ]
    assert missing == []


def test_nothing_happens_unless_a_test_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ASKED_BY, raising=False)
    crash.crash_point("after_claim")
    monkeypatch.setenv(ASKED_BY, "after_start:1:/nowhere")
    crash.crash_point("after_claim")
