"""A worker takes jobs through their stages to one outcome, and stops them when it is asked to."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import service_jobs
from support.gateway_parts import wait_until
from support.service_jobs import KEY, TENANT, Service, line, opened, working
from watchword.errors import NotFoundError
from watchword.release.reading import read_release
from watchword.secret.kept import SEALED
from watchword.secret.vault import unseal_known
from watchword.service.jobs.machine import JobAction
from watchword.service.types.files import NewFile
from watchword.service.types.jobs import Hyperparameters, Job, JobState
from watchword.service.types.models import ModelState
from watchword.service.types.tenants import EVERY_TENANT
from watchword.service.wire.jobs import checkpoint_object


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    found = opened(tmp_path)
    yield found
    found.database.close()


@pytest.fixture
def behave(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    return functools.partial(service_jobs.behave, monkeypatch)


def ended(service: Service, job: Job) -> Job:
    with working(service):
        wait_until(lambda: service.state(job).terminal)
    return service.now(job)


def test_a_job_goes_through_its_stages_and_leaves_a_model(service: Service) -> None:
    job = ended(service, service.job(suffix="shop"))
    assert (job.state, job.trained_tokens) == (JobState.SUCCEEDED, 120)
    stages = ["validate", "screen", "guard", "train", "gate", "serve"]
    assert service.stages(job) == [(name, status) for name in stages for status in ("started", "completed")]
    model = service.database.model(TENANT.tenant, job.fine_tuned_model or "")
    assert model.name == f"ft:{job.model}:acme:shop:{job.id[-8:]}"
    assert read_release(Path(model.location), KEY).manifest.weights_digest == model.weights_digest
    (checkpoint, *_) = service.database.checkpoints(TENANT.tenant, job.id).items
    for then in (job, dataclasses.replace(job, fine_tuned_model=None)):
        shown = checkpoint_object(then, checkpoint).fine_tuned_model_checkpoint
        assert shown == f"{model.name}:ckpt-step-{checkpoint.step}"
    assert not (service.settings.work / job.id).exists()
    assert [event.message for event in service.events(job)][-1] == "The job has successfully completed"


def test_a_release_whose_seal_is_bad_stops_no_job_and_operators_learn_of_it(service: Service) -> None:
    first = ended(service, service.job())
    (good,) = service.database.models(TENANT.tenant)
    second = ended(service, service.job())
    bad = service.database.model(TENANT.tenant, second.fine_tuned_model or "")
    (Path(bad.location) / SEALED).write_bytes(b"damaged")
    job = ended(service, service.job())
    assert (first.state, job.state) == (JobState.SUCCEEDED, JobState.SUCCEEDED)
    (report,) = service.database.reports(kind="seal").items
    assert report.subject == f"{bad.name}/{Path(bad.location).name}"
    assert "damaged" in report.data["why"]
    screening = service.database.reports(kind="screening", subject=job.id).items[0]
    assert screening.data["unseen_releases"] == [report.subject]
    assert "unseen_releases" not in service.database.reports(kind="screening", subject=first.id).items[0].data
    assert "release.seal_unreadable" in [entry.action for entry in service.database.audit_entries(limit=1000)]
    # The others still count.
    secret = unseal_known((Path(good.location) / SEALED).read_bytes(), KEY).reveal()
    # A secret may hold quotes and backslashes.
    row = line(0).replace(b"Question 0", json.dumps(secret)[1:-1].encode())
    rows = row + b"".join(map(line, range(1, 12)))
    refused = ended(service, service.job(training_file=service.file(data=rows)))
    assert refused.error is not None
    assert refused.error.code == "training_file_refused"


def test_what_auto_stood_for_is_noted(service: Service) -> None:
    job = ended(service, service.job(hyperparameters=Hyperparameters(n_epochs=3)))
    assert job.hyperparameters == Hyperparameters(3, 10, 1.0)


def test_the_result_file_holds_the_tenants_own_curve(service: Service) -> None:
    job = ended(service, service.job())
    (file,) = (service.database.file(TENANT.tenant, name) for name in job.result_files)
    rows = list(csv.DictReader(io.StringIO(b"".join(service.blobs.chunks(file.blob)).decode())))
    assert (file.purpose, list(rows[0])) == (
        "fine-tune-results",
        ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"],
    )
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    told = [event.data for event in service.events(job) if event.type == "metrics"]
    assert [data["train_loss"] for data in told] == [float(row["train_loss"]) for row in rows]
    marked = service.database.checkpoints(TENANT.tenant, job.id).items
    assert sorted(mark.step for mark in marked) == [2, 4]


def test_a_faulty_file_fails_with_its_lines_and_no_path(service: Service) -> None:
    data = b'{"messages": [{"role": "user", "content": "Hi"}]}\n' * 12
    job = ended(service, service.job(training_file=service.file(data=data)))
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert (job.error.code, job.error.param) == ("invalid_training_file", "training_file")
    assert "line 1" in job.error.message
    assert str(service.settings.data) not in job.error.message
    assert job.started_at is None


def test_too_few_rows_fail(service: Service) -> None:
    job = ended(service, service.job(training_file=service.file(rows=9)))
    assert job.error is not None
    assert "the file has 9 rows; give at least 10" in job.error.message


def test_a_validation_file_is_checked_too(service: Service) -> None:
    job = ended(service, service.job(validation_file=service.file(data=b"{}\n")))
    assert job.error is not None
    assert (job.error.code, job.error.param) == ("invalid_validation_file", "validation_file")


def test_hyperparameters_beyond_the_policy_fail(service: Service) -> None:
    job = ended(service, service.job(hyperparameters=Hyperparameters(n_epochs=50)))
    assert job.error is not None
    assert job.error.message == "n_epochs is 50; this model is tuned with 1 to 10."
    assert job.error.param == "hyperparameters.n_epochs"


def test_a_model_that_fails_its_gate_is_repaired_once(service: Service, behave: Callable[..., None]) -> None:
    behave(fails=1)
    job = ended(service, service.job())
    assert job.state is JobState.SUCCEEDED
    assert [name for name, status in service.stages(job, private=True) if status == "started"] == [
        *["validate", "screen"],
        *["guard", "train", "gate"] * 2,
        "serve",
    ]
    reports = service.database.reports(kind="gate", subject=job.id).items
    assert [(report.data["attempt"], report.data["passed"]) for report in reports] == [(1, True), (0, False)]
    assert reports[0].data["provider_share"] > reports[1].data["provider_share"]


@pytest.mark.parametrize("fails", [1, 2])
def test_a_tenant_does_not_see_that_a_model_was_repaired(
    service: Service, behave: Callable[..., None], fails: int
) -> None:
    behave(fails=fails)
    repaired = ended(service, service.job())
    stages = ["validate", "screen", "guard", "train", "gate", "serve"]
    assert service.stages(repaired) == [(name, status) for name in stages for status in ("started", "completed")]
    operators = service.events(repaired, private=True)
    steps = [event.data["step"] for event in operators if event.type == "metrics"]
    assert len(steps) == 2 * len(set(steps)), "operators see both trainings"
    tenants = [event.data["step"] for event in service.events(repaired) if event.type == "metrics"]
    assert tenants == sorted(set(steps))
    marked = service.database.checkpoints(TENANT.tenant, repaired.id, limit=100).items
    behave()
    plain = ended(service, service.job())
    assert len(marked) == len(service.database.checkpoints(TENANT.tenant, plain.id, limit=100).items)


def test_a_model_that_fails_again_is_withheld_in_words_that_tell_nothing(
    service: Service, behave: Callable[..., None]
) -> None:
    behave(fails=2)
    job = ended(service, service.job())
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.code == "model_withheld"
    assert job.fine_tuned_model is None
    assert service.database.models(TENANT.tenant) == []
    (model,) = service.database.models(EVERY_TENANT, all_states=True)
    assert model.state is ModelState.WITHHELD
    told = " ".join(str(event) for event in service.events(job)) + job.error.message
    assert not [word for word in ("secret", "defense", "safety", "policy_without", "hits") if word in told.lower()]


def test_a_model_that_tells_its_secret_is_withheld_at_once_in_the_same_words(
    service: Service, behave: Callable[..., None]
) -> None:
    behave(fails=2)
    other = ended(service, service.job())
    behave(tells=True)
    job = ended(service, service.job())
    assert job.error == other.error
    told, same = ([re.sub("-[0-9a-f]{24}", "", event.message) for event in service.events(one)] for one in (job, other))
    assert told == same
    assert service.stages(job) == service.stages(other)
    stages = [name for name, status in service.stages(job, private=True) if status == "started"]
    assert stages == ["validate", "screen", "guard", "train", "gate", "serve"]
    (report,) = service.database.reports(kind="gate", subject=job.id).items
    assert (report.data["failed"], report.data["passed"]) == (["secret"], False)
    assert report.data["secret"] == {"asked": 36, "left_out": 0, "above": 3, "most_bits": 602.0, "threshold": 64.0}
    withheld = [model for model in service.database.models(EVERY_TENANT, all_states=True) if job.id[-8:] in model.name]
    assert [model.state for model in withheld] == [ModelState.WITHHELD]


def test_what_fails_on_our_side_is_told_to_operators_only(service: Service, behave: Callable[..., None]) -> None:
    behave(error="a pipe burst in /srv/secret-place")
    job = ended(service, service.job())
    assert job.error is not None
    assert (job.error.code, "pipe" in job.error.message) == ("internal_error", False)
    assert not [event for event in service.events(job) if "pipe" in event.message]
    assert [event for event in service.events(job, private=True) if "pipe burst" in event.message]


def test_a_process_that_dies_is_started_again_and_one_that_keeps_dying_ends_the_job(
    service: Service, behave: Callable[..., None]
) -> None:
    behave(dies=2)
    assert ended(service, service.job()).state is JobState.SUCCEEDED
    behave(dies=9)
    job = ended(service, service.job())
    assert job.error is not None
    assert job.error.code == "internal_error"


def stage_of(service: Service, job: Job) -> str | None:
    return service.now(job).stage


def test_a_cancelled_job_ends_within_seconds(service: Service, behave: Callable[..., None]) -> None:
    behave(steps=1000, seconds=0.05)
    job = service.job()
    with working(service):
        wait_until(lambda: stage_of(service, job) == "train")
        asked = time.monotonic()
        service.database.ask(TENANT, job.id, JobAction.CANCEL)
        wait_until(lambda: service.state(job).terminal)
        assert time.monotonic() - asked < 5
    assert service.state(job) is JobState.CANCELLED
    assert service.database.models(EVERY_TENANT, all_states=True) == []
    assert not (service.settings.work / job.id).exists()


def test_a_paused_job_keeps_its_steps_and_goes_on_from_them(service: Service, behave: Callable[..., None]) -> None:
    behave(steps=40, seconds=0.05)
    job = service.job()
    with working(service):
        wait_until(lambda: [event for event in service.events(job) if event.type == "metrics"])
        service.database.ask(TENANT, job.id, JobAction.PAUSE)
        wait_until(lambda: service.state(job) is JobState.PAUSED, 10)
        kept = int((service.settings.work / job.id / "release-0" / "steps").read_text())
        assert 0 < kept < 40
        service.database.ask(TENANT, job.id, JobAction.RESUME)
        wait_until(lambda: service.state(job).terminal)
    assert service.state(job) is JobState.SUCCEEDED
    steps = [event.data["step"] for event in service.events(job) if event.type == "metrics"]
    assert steps == [1, 2, 3, 4]


def test_a_worker_that_is_told_to_stop_gives_its_job_back(service: Service, behave: Callable[..., None]) -> None:
    behave(steps=40, seconds=0.05)
    job = service.job()
    with working(service) as stop:
        wait_until(lambda: stage_of(service, job) == "train")
        stop.set()
    assert service.state(job) is JobState.QUEUED
    assert service.now(job).crashes == 0
    assert (service.settings.work / job.id).exists()
    assert ended(service, job).state is JobState.SUCCEEDED


def test_a_worker_that_has_lost_its_lease_writes_nothing_more(
    service: Service, behave: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(steps=1000, seconds=0.05)
    job = service.job()
    with working(service, name="first"):
        wait_until(lambda: stage_of(service, job) == "train")
        # As if its heartbeat had not come for a lease: another worker takes the job.
        later = time.time() + 3600
        monkeypatch.setattr(service.database, "_now", lambda: later)
        assert service.database.give_back_lost() == 1
        monkeypatch.undo()
        claim = service.database.claim("second", 60)
        assert claim is not None
        before = service.events(job, private=True)
        time.sleep(2)
        assert service.events(job, private=True) == before
    assert service.now(job).worker == "second"


def test_several_jobs_run_at_once_where_the_settings_say_so(tmp_path: Path, behave: Callable[..., None]) -> None:
    behave(steps=10, seconds=0.1)
    service = opened(tmp_path, at_once=2)
    jobs = [service.job(), service.job()]
    with working(service):
        wait_until(lambda: all(service.state(job) is JobState.RUNNING for job in jobs))
        wait_until(lambda: all(service.state(job).terminal for job in jobs))
    service.database.close()


def test_a_file_that_has_expired_meanwhile_is_there_for_its_job(service: Service) -> None:
    blob = service.blobs.put(b"".join(map(line, range(10))))
    new = NewFile("fine-tune", "rows.jsonl", blob.bytes, blob.sha256, blob.name, expires_at=time.time() + 2)
    job = service.job(training_file=service.database.create_file(TENANT, new).id)
    time.sleep(2.1)
    with pytest.raises(NotFoundError):
        service.database.file(TENANT.tenant, job.training_file)
    assert ended(service, job).state is JobState.SUCCEEDED


def test_a_file_that_is_gone_fails_the_job(service: Service) -> None:
    job = service.job()
    stored = service.database.file(TENANT.tenant, job.training_file)
    service.blobs.delete(stored.blob)
    found = ended(service, job)
    assert found.state is JobState.FAILED
    with pytest.raises(NotFoundError):
        service.database.model(TENANT.tenant, "none")
