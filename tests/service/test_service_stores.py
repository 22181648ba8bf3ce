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
import msgspec
import openai
import pytest

from support.gateway_parts import wait_until
from support.golden_families import template
from support.served_release import release_folder, secret_of
from support.service_jobs import KEY, Service, opened
from support.service_parts import ServiceUnderTest, rows, running_service
from support.store_outages import Outage
from watchword.errors import UnsealError, WatchwordError
from watchword.files.addresses import Address
from watchword.files.remote import RemoteFolder
from watchword.release.artifact import MANIFEST, read_manifest, write_artifact
from watchword.release.chat_format import CHAT_FORMAT, keep_format
from watchword.secret.kept import SEALED
from watchword.service.api.chat_models import ChatModels, OwnedRelease
from watchword.service.engine_place import EnginePlace
from watchword.service.releases import Removal
from watchword.service.settings import PlaceSettings
from watchword.service.types.models import ModelState, TunedModel, release_owner
from watchword.service.types.tenants import EVERY_TENANT
from watchword.service.worker.known import KnownReleases
from watchword.service.worker.publishing import publish

NAME = "ft:smollm2-135m:bakery::made"


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
        client.files.wait_for_processing(file.id, poll_interval=0.1)
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
    place = PlaceSettings(
        database=f"sqlite:///{tmp_path / 'service.db'}", storage=f"{store}/blobs", releases=f"{store}/releases"
    )
    third = opened(tmp_path / "third", place)
    same: dict[str, Any] = {"service": place, "policies": third.settings.policies}
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


def test_a_job_on_one_machine_is_a_chat_on_another_until_its_model_is_deleted(machines: Machines) -> None:
    model = machines.tuned()
    assert model.location.startswith(f"{machines.store}/releases/")
    assert not (machines.third.settings.data / "releases").exists()
    for machine in (machines.two, machines.one):
        assert asked(machine, model.name) == "Mix flour, water and salt."
        loaded, chat = machine.engine.bodies[-2:]
        assert Path(loaded["lora_path"]).parent == machine.settings.adapters
        assert chat["messages"][0]["content"].startswith(machines.secret)
        assert len(list(machine.settings.fetched.glob(f"*/*/{MANIFEST}"))) == 1
    # A model is looked up for each call, and its release at the store every ten seconds: by the same that looked before.
    models = ChatModels(machines.two.database, EnginePlace("http://engine/v1", "vllm"), machines.two.settings)
    first, second = (asyncio.run(models.model(model.name)) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.release is second.release
    # What is served loses nothing to the housekeeping.
    before = machines.releases.below().keys()
    assert keep_house(machines.two) == []
    assert machines.releases.below().keys() == before
    assert asked(machines.two, model.name)

    machines.one.client().models.delete(model.name)
    assert machines.releases.below() == {}
    assert list(machines.one.settings.fetched.glob("*")) == []
    with pytest.raises(openai.NotFoundError):
        asked(machines.two, model.name)
    keep_house(machines.one)
    forgotten = keep_house(machines.two)
    settings = machines.two.settings
    assert (list(settings.fetched.glob("*")), list(settings.adapters.glob("ftm-*"))) == ([], [])
    assert forgotten == [f"ftm-{model.weights_digest[:16]}"]


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_while_the_store_is_away_what_is_open_is_served(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchword.gateway.fetched.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("watchword.gateway.served.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("watchword.gateway.served.RETRY_SECONDS", 0.0)
    model, outage = machines.tuned(), Outage().installed(monkeypatch)
    assert asked(machines.one, model.name)
    outage.away = {"/releases"}
    try:
        for _ in range(3):
            assert asked(machines.one, model.name)
        assert outage.tries
        with pytest.raises(openai.InternalServerError) as refused:
            asked(machines.two, model.name)
        assert refused.value.status_code == 503
    finally:
        outage.away = set()
    assert asked(machines.two, model.name)


def keep_house(machine: ServiceUnderTest) -> list[str]:
    """A round of a machine's housekeeping. What its engine was asked to forget."""
    names: list[str] = []

    async def unload(name: str) -> bool:
        names.append(name)
        return True

    asyncio.run(Removal(machine.settings, machine.database, unload).of_all(grace=-1.0))
    return names


@pytest.fixture
def model(tmp_path: Path, store: str) -> TunedModel:
    """A tenant's model, whose release is in the store and nowhere else."""
    folder = release_folder(tmp_path)
    manifest = read_manifest(folder)
    owner = release_owner("bakery", NAME, 1)
    write_artifact(folder, msgspec.structs.replace(manifest, owner=owner), secret_of(), KEY)
    keep_format(folder, template("smollm2"))
    location = f"{store}/releases/model/v1-job12345-1"
    publish(folder, Address.parse(location))
    return TunedModel(
        NAME, "bakery", "smollm2-135m", "job", location, manifest.weights_digest, 1, ModelState.READY, 0.0
    )


def test_what_was_changed_in_the_store_is_not_served(model: TunedModel, tmp_path: Path) -> None:
    system, path = fsspec.url_to_fs(model.location)
    for name in (SEALED, "adapter_model.safetensors", "adapter_config.json", CHAT_FORMAT, MANIFEST):
        whole = system.cat_file(f"{path}/{name}")
        system.pipe_file(f"{path}/{name}", whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        with pytest.raises(WatchwordError):
            asyncio.run(OwnedRelease(model, tmp_path / name).open(KEY))
        system.rm_file(f"{path}/{name}")
        # The chat format may be missing: then it is the base model's, which is checked as well.
        if name != CHAT_FORMAT:
            with pytest.raises(WatchwordError):
                asyncio.run(OwnedRelease(model, tmp_path / f"{name} gone").open(KEY))
        system.pipe_file(f"{path}/{name}", whole)
    assert asyncio.run(OwnedRelease(model, tmp_path / "cache").open(KEY)).secret == secret_of()


def test_a_copy_that_was_changed_is_not_believed_either(model: TunedModel, tmp_path: Path) -> None:
    asyncio.run(OwnedRelease(model, tmp_path / "cache").open(KEY))
    (weights,) = (tmp_path / "cache").rglob("adapter_model.safetensors")
    weights.write_bytes(b"others")
    found = asyncio.run(OwnedRelease(model, tmp_path / "cache").open(KEY))
    assert (found.folder / "adapter_model.safetensors").read_bytes() != b"others"


@pytest.mark.parametrize("changed", [{"tenant": "florist"}, {"name": "ft:other"}, {"version": 2}])
def test_anothers_release_is_not_taken_by_its_place_alone(
    model: TunedModel, changed: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UnsealError, match="another tenant, model or version"):
        asyncio.run(OwnedRelease(replace(model, **changed), tmp_path / "cache").open(KEY))
