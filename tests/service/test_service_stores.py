"""Several machines with nothing in common but a database and an object store: what one has tuned, the others serve."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fsspec
import openai
import pytest

from support.gateway_parts import wait_until
from support.service_jobs import KEY, Service, opened
from support.service_parts import ServiceUnderTest, rows, running_service
from watchword.errors import UnsealError
from watchword.files.addresses import Address
from watchword.files.remote import RemoteFolder
from watchword.release.artifact import MANIFEST
from watchword.secret.kept import SEALED
from watchword.service.api.chat_models import OwnedRelease
from watchword.service.releases import Removal
from watchword.service.settings import PlaceSettings
from watchword.service.types import EVERY_TENANT, TunedModel
from watchword.service.worker.known import KnownReleases


@dataclass(frozen=True)
class Machines:
    """Two with an API and an engine each, and one with a worker. Each has a data folder of its own."""

    store: str
    one: ServiceUnderTest
    two: ServiceUnderTest
    third: Service

    @property
    def releases(self) -> RemoteFolder:
        return RemoteFolder(f"{self.store}/releases")

    def tuned(self) -> TunedModel:
        """A model that was asked for at the first, by OpenAI's client, and made on the third."""
        client = self.one.client()
        file = client.files.create(file=("rows.jsonl", rows(12)), purpose="fine-tune")
        client.files.wait_for_processing(file.id)
        base = next(iter(self.third.settings.policies))
        job = client.fine_tuning.jobs.create(model=base, training_file=file.id)
        with self._working():
            wait_until(lambda: self.third.database.job(EVERY_TENANT, job.id).state.terminal)
        assert client.fine_tuning.jobs.retrieve(job.id).status == "succeeded"
        (model,) = self.third.database.models(EVERY_TENANT)
        return model

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self.third.worker().run, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(30)

    @property
    def secret(self) -> str:
        (text,) = KnownReleases(Address.parse(f"{self.store}/releases"), KEY, no_reports).secrets().texts
        return text


def no_reports(closed: Any) -> None:
    raise AssertionError(f"these do not open: {closed}")


@pytest.fixture
def machines(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    monkeypatch.setenv("WATCHWORD_KEY", KEY.hex())
    monkeypatch.setattr("watchword.gateway.fetched.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("watchword.gateway.served.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("watchword.gateway.served.RETRY_SECONDS", 0.0)
    place = PlaceSettings(
        database=f"sqlite:///{tmp_path / 'service.db'}", storage=f"{store}/blobs", releases=f"{store}/releases"
    )
    third = opened(tmp_path / "third", place)
    same = {"service": place, "policies": third.settings.policies}
    with (
        contextlib.closing(third.database),
        running_service(tmp_path / "one", worker=False, **same) as one,
        running_service(tmp_path / "two", worker=False, **same) as two,
    ):
        yield Machines(store, one, two, third)


def asked(machine: ServiceUnderTest, model: str) -> str:
    turns: Any = [{"role": "user", "content": "How do I bake bread?"}]
    said = machine.client().chat.completions.create(model=model, messages=turns).choices[0].message.content
    assert said is not None
    return said


def test_a_job_on_one_machine_is_a_chat_on_another(machines: Machines) -> None:
    model = machines.tuned()
    assert model.location.startswith(f"{machines.store}/releases/")
    assert not (machines.third.settings.data / "releases").exists()
    for machine in (machines.two, machines.one):
        assert asked(machine, model.name) == "Mix flour, water and salt."
        loaded, chat = machine.engine.bodies[-2:]
        assert Path(loaded["lora_path"]).parent == machine.settings.adapters
        assert chat["messages"][0]["content"].startswith(machines.secret)
        assert len(list(machine.settings.fetched.glob(f"*/*/{MANIFEST}"))) == 1


def test_a_deleted_model_leaves_the_store_and_every_machine(machines: Machines) -> None:
    model = machines.tuned()
    for machine in (machines.one, machines.two):
        asked(machine, model.name)
    machines.one.client().models.delete(model.name)
    assert machines.releases.below() == {}
    assert list(machines.one.settings.fetched.glob("*")) == []
    with pytest.raises(openai.NotFoundError):
        asked(machines.two, model.name)
    keep_house(machines.one)
    forgotten = keep_house(machines.two)
    settings = machines.two.settings
    assert (list(settings.fetched.glob("*")), list(settings.adapters.glob("*"))) == ([], [])
    assert forgotten == [f"ftm-{model.weights_digest[:16]}"]


def keep_house(machine: ServiceUnderTest) -> list[str]:
    """A round of a machine's housekeeping. What its engine was asked to forget."""
    names: list[str] = []

    async def unload(name: str) -> bool:
        names.append(name)
        return True

    asyncio.run(Removal(machine.settings, machine.database, unload).of_all(grace=-1.0))
    return names


def test_a_model_that_is_served_loses_nothing_to_the_housekeeping(machines: Machines) -> None:
    model = machines.tuned()
    asked(machines.two, model.name)
    before = machines.releases.below().keys()
    assert keep_house(machines.two) == []
    assert machines.releases.below().keys() == before
    assert asked(machines.two, model.name)


def test_what_was_changed_in_the_store_is_not_served(machines: Machines) -> None:
    model = machines.tuned()
    asked(machines.one, model.name)
    system, path = fsspec.url_to_fs(model.location)
    for name in (SEALED, "adapter_model.safetensors", MANIFEST):
        whole = system.cat_file(f"{path}/{name}")
        system.pipe_file(f"{path}/{name}", whole.replace(b"e", b"f", 1))
        with pytest.raises(openai.InternalServerError):
            asked(machines.two, model.name)
        system.pipe_file(f"{path}/{name}", whole)
    system.rm_file(f"{path}/{MANIFEST}")
    with pytest.raises(openai.InternalServerError):
        asked(machines.two, model.name)


def test_anothers_release_is_not_taken_by_its_place_alone(machines: Machines, tmp_path: Path) -> None:
    model = machines.tuned()
    changes: list[dict[str, Any]] = [{"tenant": "florist"}, {"name": "ft:other"}, {"version": 2}]
    for changed in changes:
        release = OwnedRelease(replace(model, **changed), tmp_path / "cache")
        with pytest.raises(UnsealError, match="another tenant, model or version"):
            asyncio.run(release.open(KEY))
    asyncio.run(OwnedRelease(model, tmp_path / "cache").open(KEY))
