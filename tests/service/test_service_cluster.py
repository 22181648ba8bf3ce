"""A service that has grown up: two APIs and two workers, which share one PostgreSQL, one store that speaks S3, and no folder."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from support.crash_stand import in_a_fork
from support.processes import forked
from support.service import Databases
from support.service_jobs import KEY, behave, opened
from support.service_parts import ServiceUnderTest, rows, running_service
from support.stores import s3_store
from watchword.files.remote import RemoteFolder
from watchword.finetune.launch._process import Child
from watchword.release.artifact import MANIFEST
from watchword.service.settings import PlaceSettings

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


@dataclass(frozen=True)
class Cluster:
    """Two APIs, each with an engine and a data folder of its own, in front of what all share."""

    store: str
    model: str
    first: ServiceUnderTest
    second: ServiceUnderTest

    @property
    def clients(self) -> tuple[OpenAI, OpenAI]:
        """One tenant's, at each API."""
        return self.first.client(), self.second.client(self.first.key)

    def job(self, client: OpenAI, number: int) -> FineTuningJob:
        """A new job from a file of its own."""
        file = client.files.create(file=(f"{number}.jsonl", rows(10 + number)), purpose="fine-tune")
        return client.fine_tuning.jobs.create(model=self.model, training_file=file.id)

    def workers_of_jobs(self) -> set[str]:
        """Who has brought jobs to their end."""
        entries = self.first.database.audit_entries(limit=1000)
        return {entry.actor for entry in entries if entry.action == "job.succeeded"}


def work(folder: Path, place: PlaceSettings, model: Path, name: str) -> None:
    """What a worker's process does, until it is killed."""
    Child.spawned = classmethod(lambda _, target: in_a_fork(target))  # type: ignore[method-assign, assignment]
    opened(folder, place, model=model).worker(name=name).run(threading.Event())


@pytest.fixture
def cluster(tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("WATCHWORD_KEY", KEY.hex())
    # Long enough that one worker cannot do all of it before the other has begun.
    behave(monkeypatch, seconds=0.5)
    model = tmp_path / "model"
    with s3_store() as store, contextlib.ExitStack() as held:
        place = PlaceSettings(
            database=databases.url("postgresql"), storage=f"{store}/blobs", releases=f"{store}/releases"
        )
        made = opened(tmp_path / "made", place, model=model)
        made.database.close()
        # Before there are threads.
        for name in ("one", "two"):
            held.enter_context(forked(functools.partial(work, tmp_path / name, place, model, name)))
        same: dict[str, Any] = {"service": place, "policies": made.settings.policies}
        first, second = (
            held.enter_context(running_service(tmp_path / name, worker=False, **same)) for name in ("left", "right")
        )
        yield Cluster(store, str(model), first, second)


def test_two_apis_and_two_workers_are_one_service(cluster: Cluster) -> None:
    here, there = cluster.clients
    jobs = [cluster.job(client, number) for number, client in enumerate((here, there, here, there))]
    for client in cluster.clients:
        assert {job.id for job in client.fine_tuning.jobs.list()} == {job.id for job in jobs}
    done = [there.fine_tuning.jobs.retrieve(job.id) for job in jobs]
    while any(job.finished_at is None for job in done):
        done = [there.fine_tuning.jobs.retrieve(job.id, extra_headers={"Prefer": "wait=20"}) for job in done]
    assert [(job.status, job.error) for job in done] == [("succeeded", None)] * 4
    assert cluster.workers_of_jobs() == {"one", "two"}
    models = [str(job.fine_tuned_model) for job in done]
    for api, client in zip((cluster.first, cluster.second), cluster.clients, strict=True):
        for job, model in zip(done, models, strict=True):
            assert said(client, model) == "Mix flour, water and salt."
            assert client.files.content(job.result_files[0]).text.startswith("step,train_loss,")
        with pytest.raises(openai.NotFoundError):
            said(api.client(api.other_key), models[0])
        assert len(list(api.settings.fetched.glob(f"*/*/{MANIFEST}"))) == 4
    there.models.delete(models[0])
    with pytest.raises(openai.NotFoundError):
        said(here, models[0])
    assert len([name for name in RemoteFolder(f"{cluster.store}/releases").below() if name.endswith(MANIFEST)]) == 3
    assert cluster.first.database.audit_verify() is not None


def said(client: OpenAI, model: str) -> str | None:
    turns: Any = [{"role": "user", "content": "How do I bake bread?"}]
    return client.chat.completions.create(model=model, messages=turns).choices[0].message.content
