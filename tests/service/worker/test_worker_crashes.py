"""A worker or a job's process may be killed at any named point: no job is lost, and none has two outcomes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.processes import forked
from support.service_jobs import BEHAVIOUR, KEY, TENANT, Behaviour, Service, opened
from watchword.finetune.launch._process import Child
from watchword.release.reading import read_release
from watchword.service import crash
from watchword.service.crash import ASKED_BY, CHILD_POINTS, WORKER_POINTS
from watchword.service.types import EVERY_TENANT, Job, JobState

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
SEEDS = (1, 2, 3)
# Reached more than once in a job, so that each seed kills at another time.
OFTEN = {"after_event": (2, 7, 12), "after_checkpoint": (1, 2, 4), "after_heartbeat": (1, 2, 3)}
LEASE = 0.6


def in_a_fork(target: Callable[..., None]) -> Child:
    """A job's process at once: a new interpreter would take most of the time of these tests."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def begin() -> None:
        # Else it would hold its parent's end itself, and never see that the parent is gone.
        ours.close()
        target(theirs)

    process: Any = context.Process(target=begin, daemon=True)
    process.start()
    theirs.close()
    return Child(process, ours)


@dataclass
class Stand:
    """A service on which workers are killed."""

    folder: Path
    service: Service = field(init=False)

    def __post_init__(self) -> None:
        self.service = self.opened()

    def opened(self) -> Service:
        return opened(self.folder, lease_seconds=LEASE, poll_seconds=0.02)

    def work(self) -> None:
        """What a worker's process does, until every job has ended."""
        own, stop = self.opened(), threading.Event()
        Child.spawned = classmethod(lambda cls, target: in_a_fork(target))  # type: ignore[method-assign, assignment]
        threading.Thread(target=self._stop_at_the_end, args=(own, stop), daemon=True).start()
        own.worker().run(stop)

    def worker_ends(self) -> int:
        with forked(self.work) as ended:
            return ended()

    @staticmethod
    def _stop_at_the_end(own: Service, stop: threading.Event) -> None:
        while not all(job.state.terminal for job in own.database.jobs(EVERY_TENANT).items):
            time.sleep(0.02)
        # After the worker's last word on the job, which comes behind the outcome.
        time.sleep(0.1)
        stop.set()


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    monkeypatch.setenv(BEHAVIOUR, msgspec.json.encode(Behaviour(seconds=0.03)).decode())
    (tmp_path / "reached").mkdir()
    yield Stand(tmp_path)


@contextlib.contextmanager
def killing(stand: Stand, point: str, times: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(ASKED_BY, f"{point}:{times}:{stand.folder / 'reached'}")
    yield
    monkeypatch.delenv(ASKED_BY)


def check_one_outcome(stand: Stand, job: Job) -> None:
    """Everything that there may be once is there once."""
    service = stand.service
    found = service.now(job)
    assert found.state is JobState.SUCCEEDED, [event.message for event in service.events(job, private=True)]
    messages = [event.message for event in service.events(job)]
    assert messages.count("The job has successfully completed") == 1
    assert messages.count(f"New fine-tuned model created: {found.fine_tuned_model}") == 1
    (model,) = service.database.models(EVERY_TENANT, all_states=True)
    assert model.name == found.fine_tuned_model
    assert read_release(Path(model.location), KEY).manifest.weights_digest == model.weights_digest
    # What lost workers have published is gone, and so is the job's own folder.
    assert list(Path(model.location).parent.iterdir()) == [Path(model.location)]
    assert not (service.settings.work / job.id).exists()
    assert len(found.result_files) == 1
    results = [file for file in service.database.files(TENANT.tenant).items if file.purpose == "fine-tune-results"]
    assert [file.id for file in results] == list(found.result_files)
    assert b"".join(service.blobs.chunks(results[0].blob)).count(b"\n") == 5
    assert [entry.action for entry in audit(service)].count("job.succeeded") == 1


def audit(service: Service) -> Any:
    service.database.audit_verify()
    return service.database.audit_entries()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("point", WORKER_POINTS)
def test_a_killed_worker_loses_no_job(stand: Stand, monkeypatch: pytest.MonkeyPatch, point: str, seed: int) -> None:
    job = stand.service.job()
    with killing(stand, point, OFTEN.get(point, (1, 1, 1))[seed - 1], monkeypatch):
        assert stand.worker_ends() == -signal.SIGKILL
    before = stand.service.now(job)
    assert stand.worker_ends() == 0
    check_one_outcome(stand, job)
    if before.state.terminal:
        assert stand.service.now(job) == before


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("point", CHILD_POINTS)
def test_a_killed_process_of_a_job_is_started_again_where_it_was(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, point: str, seed: int
) -> None:
    job = stand.service.job()
    with killing(stand, point, OFTEN.get(point, (1, 1, 1))[seed - 1], monkeypatch):
        assert stand.worker_ends() == 0
    assert len(list((stand.folder / "reached").iterdir())) >= 1
    check_one_outcome(stand, job)
    assert stand.service.now(job).crashes == 0
    # It was told of the death, and only operators are.
    assert [event for event in stand.service.events(job, private=True) if "was killed (SIGKILL)" in event.message]
    steps = [event.data["step"] for event in stand.service.events(job) if event.type == "metrics"]
    assert sorted(set(steps)) == [1, 2, 3, 4]


def test_every_point_stands_in_the_code() -> None:
    source = Path(crash.__file__).parent
    code = "".join(path.read_text() for path in source.rglob("*.py") if path.name != "crash.py")
    missing = [
        name for name in (*WORKER_POINTS, *CHILD_POINTS, *crash.API_POINTS) if f'crash_point("{name}")' not in code
    ]
    assert missing == []


def test_nothing_happens_unless_a_test_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ASKED_BY, raising=False)
    crash.crash_point("after_claim")
    monkeypatch.setenv(ASKED_BY, "after_start:1:/nowhere")
    crash.crash_point("after_claim")
