"""Jobs of the service whose trainings run on a Ray cluster: workers that are killed, pauses and cancellation."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("torch")

from support.cli_samples import leaks
from support.ray_cluster import ray_cluster, ray_workers
from support.service_jobs import KEY, TENANT, Service, opened, working
from support.tiny import saved
from watchword.release.opening import open_release
from watchword.service.jobs.machine import JobAction
from watchword.service.settings import GateThresholds, Policy, TrainingDefaults
from watchword.service.types.jobs import Hyperparameters, Job, JobState
from watchword.service.worker.child import work

pytestmark = [pytest.mark.integration, pytest.mark.peers("ray"), pytest.mark.filterwarnings("ignore")]
ROWS, SECONDS = 24, 900


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with ray_cluster() as address:
        yield address


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def service(tmp_path: Path, base: Path, cluster: str) -> Iterator[Service]:
    found = opened(
        tmp_path,
        lease_seconds=300.0,
        launcher="ray",
        launcher_arguments={"address": cluster, "storage": (tmp_path / "storage").as_uri()},
    )
    policy = Policy(
        defense="backdoor_align",
        arguments={"safety": 4},
        secret_tokens=30,
        least_share=0.4,
        training=TrainingDefaults(epochs=3, batch_size=4, checkpoint_steps=2),
        gate=GateThresholds(enabled=False),
    )
    settings = msgspec.structs.replace(found.settings, policies={str(base): policy})
    yield Service(settings, found.database, found.blobs)
    found.database.close()


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.1)


def told(service: Service, job: Job) -> list[str]:
    return [event.message for event in service.events(job, private=True)]


def steps(service: Service, job: Job) -> list[int]:
    return [event.data["step"] for event in service.events(job) if event.type == "metrics"]


def long_job(service: Service) -> Job:
    file = service.file(rows=ROWS)
    return service.job(training_file=file, hyperparameters=Hyperparameters(n_epochs=10))


def test_a_job_survives_a_killed_worker_and_a_pause_and_has_one_outcome(service: Service, tmp_path: Path) -> None:
    job = long_job(service)
    with working(service, target=work):
        wait_for(lambda: len(steps(service, job)) > 3)
        os.kill(ray_workers()[0], signal.SIGKILL)
        seen = len(steps(service, job))
        wait_for(lambda: len(steps(service, job)) > seen)
        service.database.ask(TENANT, job.id, JobAction.PAUSE)
        wait_for(lambda: service.state(job) is JobState.PAUSED)
        assert list((service.settings.work / job.id / "release" / "work").glob("checkpoint-*"))
        wait_for(lambda: not ray_workers())
        service.database.ask(TENANT, job.id, JobAction.RESUME)
        wait_for(lambda: service.state(job).terminal)
    found = service.now(job)
    assert found.state is JobState.SUCCEEDED, told(service, job)
    # Ray replaced the worker: the job's own process has not died.
    assert not [text for text in told(service, job) if "process" in text]
    assert told(service, job).count("The job has successfully completed") == 1
    numbers = steps(service, job)
    assert numbers == sorted(set(numbers))
    release = Path(service.database.model(TENANT.tenant, found.fine_tuned_model or "").location)
    served = open_release(release, key=KEY).release
    assert served.manifest.figures.rows == {"tenant": ROWS, "safety": 16}
    # Nothing that the tenant reads, Ray writes down or the storage keeps holds any of the secret.
    assert served.secret is not None
    said = json.dumps([event.data for event in service.events(job)]) + "".join(told(service, job))
    assert leaks(served.secret, said, under=service.settings.data) == []
    assert leaks(served.secret, under=Path("/tmp/ray/session_latest/logs")) == []
    assert list((tmp_path / "storage").iterdir()) == []


def test_a_cancelled_job_frees_the_cluster(service: Service) -> None:
    job = long_job(service)
    with working(service, target=work):
        wait_for(lambda: len(steps(service, job)) > 0)
        service.database.ask(TENANT, job.id, JobAction.CANCEL)
        wait_for(lambda: service.state(job) is JobState.CANCELLED)
        wait_for(lambda: not ray_workers())
