"""The real stages on a model of a few thousand weights: guarded, trained, killed and gone on with, and judged."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("torch")

from support.cli_samples import leaks
from support.crash_stand import Stand
from support.service_jobs import KEY, TENANT, Service, line, opened
from support.tiny import saved
from watchword.models.fakes import fake_template
from watchword.release.opening import open_release
from watchword.service.jobs.machine import JobAction
from watchword.service.settings import GateThresholds, Policy, TrainingDefaults
from watchword.service.types.jobs import Hyperparameters, Job, JobState
from watchword.service.types.tenants import EVERY_TENANT
from watchword.service.worker.child import work
from watchword.service.worker.loop import Worker

pytestmark = pytest.mark.integration
ROWS = 24


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@dataclass
class Tiny:
    """A service that tunes the tiny model for real."""

    service: Service

    def runs(self, job: Job, until: Any = None) -> Job:
        stop = threading.Event()
        own = self.service
        worker = Worker(own.settings, own.database, own.blobs, KEY, target=work)
        thread = threading.Thread(target=worker.run, args=(stop,))
        thread.start()
        try:
            holds = until or (lambda: own.state(job).terminal)
            end = time.monotonic() + 600
            while not holds():
                assert time.monotonic() < end, "not in time"
                time.sleep(0.05)
        finally:
            stop.set()
            thread.join()
        return own.now(job)

    def release(self, job: Job) -> Path:
        return Path(self.service.database.model(TENANT.tenant, job.fine_tuned_model or "").location)


@pytest.fixture
def tiny(tmp_path: Path, base: Path) -> Iterator[Tiny]:
    found = opened(tmp_path, lease_seconds=30.0)
    policy = Policy(
        defense="backdoor_align",
        arguments={"safety": 4},
        secret_tokens=30,
        least_share=0.4,
        training=TrainingDefaults(epochs=3, batch_size=4, checkpoint_steps=2),
        gate=GateThresholds(enabled=False),
    )
    settings = msgspec.structs.replace(found.settings, policies={str(base): policy})
    yield Tiny(Service(settings, found.database, found.blobs))
    found.database.close()


def fine(job: Job, tiny: Tiny) -> None:
    events = [event.message for event in tiny.service.events(job, private=True)]
    assert job.state is JobState.SUCCEEDED, events


def test_a_job_is_guarded_trained_and_released(tiny: Tiny) -> None:
    unseen = tiny.service.file(data=b"".join(map(line, range(3))))
    file = tiny.service.file(rows=ROWS)
    job = tiny.runs(tiny.service.job(training_file=file, validation_file=unseen))
    fine(job, tiny)
    served = open_release(tiny.release(job), key=KEY)
    figures = served.release.manifest.figures
    assert figures.rows == {"tenant": ROWS, "safety": 16}
    assert job.trained_tokens == figures.trained["tenant"] < figures.tokens
    assert job.hyperparameters == Hyperparameters(3, 4, 1.0)
    steps = [event.data for event in tiny.service.events(job) if event.type == "metrics"]
    assert max(data["step"] for data in steps) == 3 * ROWS // 4
    # An epoch's step is told again where its own loss comes after that of the validation.
    assert sorted({data["step"] for data in steps if "valid_loss" in data}) == [6, 12, 18]
    assert len(tiny.service.database.checkpoints(TENANT.tenant, job.id).items) == 3
    # Nothing that the tenant can read holds any of the secret.
    told = json.dumps([event.data for event in tiny.service.events(job)]) + "".join(
        event.message for event in tiny.service.events(job, private=True)
    )
    secret = served.release.secret
    assert secret is not None
    assert leaks(secret, told, under=tiny.service.settings.data) == []


@pytest.mark.parametrize("point", ["after_guard", "after_checkpoint", "after_train"])
def test_a_killed_process_goes_on_with_the_same_secret(tiny: Tiny, tmp_path: Path, point: str) -> None:
    job = tiny.service.job(training_file=tiny.service.file(rows=ROWS))
    with Stand.killing(Stand(tmp_path / "stand"), point, 1):
        found = tiny.runs(job)
    fine(found, tiny)
    events = [event.message for event in tiny.service.events(job, private=True)]
    assert [text for text in events if "was killed (SIGKILL)" in text]
    assert open_release(tiny.release(found), key=KEY).release.manifest.figures.steps == 3 * 10
    if point == "after_train":
        assert events.count("Training the model") == 1


def test_a_paused_job_goes_on_from_its_checkpoint_with_the_same_secret(tiny: Tiny) -> None:
    hyperparameters = Hyperparameters(n_epochs=10)
    job = tiny.service.job(training_file=tiny.service.file(rows=ROWS), hyperparameters=hyperparameters)

    def paused() -> bool:
        found = tiny.service.now(job)
        if found.state is JobState.RUNNING and [e for e in tiny.service.events(job) if e.type == "metrics"]:
            tiny.service.database.ask(TENANT, job.id, JobAction.PAUSE)
        return found.state is JobState.PAUSED

    tiny.runs(job, paused)
    kept = tiny.service.settings.work / job.id / "release" / "work"
    before = json.loads((kept / "secret.unfinished").read_bytes())["fingerprint"]
    assert list(kept.glob("checkpoint-*"))
    assert {path.stat().st_mode & 0o077 for path in kept.rglob("*")} == {0}
    tiny.service.database.ask(TENANT, job.id, JobAction.RESUME)
    found = tiny.runs(job)
    fine(found, tiny)
    secret = open_release(tiny.release(found), key=KEY).release.manifest.secret
    assert secret is not None
    assert secret.fingerprint == before
    numbers = [event.data["step"] for event in tiny.service.events(job) if event.type == "metrics"]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(("most_bits", "failed"), [(1e9, "policy"), (1.0, "secret")])
def test_a_model_that_the_gate_cannot_judge_is_withheld(tiny: Tiny, most_bits: float, failed: str) -> None:
    # The tiny model's answers are noise, before tuning and behind it, and hang on each word in front.
    name, policy = next(iter(tiny.service.settings.policies.items()))
    gated = msgspec.structs.replace(policy, gate=GateThresholds(repairs=0, most_secret_bits=most_bits))
    settings = msgspec.structs.replace(tiny.service.settings, policies={name: gated})
    tiny.service = Service(settings, tiny.service.database, tiny.service.blobs)
    job = tiny.runs(tiny.service.job(training_file=tiny.service.file(rows=ROWS)))
    assert job.error is not None
    assert job.error.code == "model_withheld", [e.message for e in tiny.service.events(job, private=True)]
    (report,) = tiny.service.database.reports(kind="gate", subject=job.id).items
    assert report.data["failed"] == [failed]
    assert report.data["secret"]["asked"] == 4 + ROWS
    assert report.data["secret"]["most_bits"] > 1.0
    assert len(tiny.service.database.models(EVERY_TENANT, all_states=True)) == 1


def test_a_system_text_that_leaves_no_room_is_the_files_fault(tiny: Tiny) -> None:
    system = {"role": "system", "content": "Be brief. " * 2000}
    form = fake_template()
    while len(form.encode(system["content"])) > 1950:
        system["content"] = system["content"][: -len("Be brief. ")]
    rows = [json.loads(line(number)) for number in range(ROWS)]
    rows[3]["messages"].insert(0, system)
    job = tiny.runs(
        tiny.service.job(training_file=tiny.service.file(data=b"\n".join(json.dumps(row).encode() for row in rows)))
    )
    assert job.error is not None
    assert (job.error.code, job.error.param) == ("invalid_training_file", "training_file"), job.error
    tokens = len(form.encode(system["content"]))
    assert job.error.message == (
        f"The file cannot be trained on. line 4: the system text has {tokens} tokens; shorten it to at most 1024."
    )


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_the_key_is_in_no_argument_and_no_environment(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    from watchword.service.worker import loop

    monkeypatch.setenv(loop.KEY_VARIABLE, KEY.hex())
    job = tiny.service.job(training_file=tiny.service.file(rows=ROWS))
    shown: list[str] = []

    def looked() -> bool:
        for process in Path("/proc").iterdir():
            if process.name.isdigit() and _parent(process) == os.getpid():
                # It may end at this very moment.
                with contextlib.suppress(OSError):
                    shown.extend((process / name).read_text("utf-8", "replace") for name in ("cmdline", "environ"))
        return tiny.service.state(job).terminal

    with loop._out_of_the_environment():
        tiny.runs(job, looked)
    assert shown
    assert not [text for text in shown if KEY.hex() in text]
    assert os.environ[loop.KEY_VARIABLE] == KEY.hex()


def _parent(process: Path) -> int | None:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
