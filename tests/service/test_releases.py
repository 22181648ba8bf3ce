"""A release that no model has any more goes from the disk and from the engine, also where a process died in between."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.served_release import release_folder
from support.service import a_job, caller, opened
from watchword.errors import DataError
from watchword.files.addresses import Address
from watchword.files.remote import RemoteFolder
from watchword.release.artifact import MANIFEST, read_manifest
from watchword.release.engine import weights_name
from watchword.service.db import Database
from watchword.service.jobs.machine import JobAction
from watchword.service.releases import Removal
from watchword.service.settings import PlaceSettings, ServiceSettings
from watchword.service.strays import sweep_strays
from watchword.service.types.jobs import Succeeded
from watchword.service.types.models import NewModel

NAME = "ft:smollm2-135m:acme::made"


@dataclass
class Stand:
    """Releases in folders, the engine's copies beside them, and what the engine was asked to forget."""

    settings: ServiceSettings
    database: Database
    asked: list[str] = field(default_factory=list)
    busy: bool = False
    stuck: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.removal = Removal(self.settings, self.database, self._unload)

    def made(self, weights: str, *, name: str = NAME, version: int = 1) -> Path:
        """A model, or its next version, whose release and whose copy for the engine are on the disk."""
        release = self.settings.releases / f"{weights[:16]}-{version}"
        for folder in (release, self.adapter(weights)):
            folder.mkdir(parents=True, exist_ok=True)
        self.recorded(weights, str(release), name, version)
        return release

    def recorded(self, weights: str, location: str, name: str = NAME, version: int = 1) -> None:
        """A model whose release is there."""
        a_job(self.database, replaces=name if version > 1 else None)
        claim = self.database.claim("w", 60.0)
        assert claim is not None
        self.database.advance(claim, JobAction.VALIDATED)
        self.database.advance(claim, JobAction.STARTED)
        made = NewModel(name, "smollm2-135m", location, weights, version)
        self.database.finish(claim, Succeeded(made, trained_tokens=1))

    def adapter(self, weights: str) -> Path:
        return self.settings.adapters / weights_name(weights)

    def remove(self, grace: float = -1.0) -> None:
        asyncio.run(self.removal.of_all(grace=grace))

    async def _unload(self, name: str) -> bool:
        self.asked.append(name)
        return not self.busy and name not in self.stuck


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    with opened(f"sqlite:///{tmp_path / 'service.db'}") as database:
        yield Stand(ServiceSettings(data=tmp_path / "data"), database)


def test_a_renewed_secrets_old_release_leaves_disk_and_engine(stand: Stand) -> None:
    old, new = stand.made("a" * 64), stand.made("b" * 64, version=2)
    stand.remove()
    assert (old.exists(), stand.adapter("a" * 64).exists()) == (False, False)
    assert (new.exists(), stand.adapter("b" * 64).exists()) == (True, True)
    assert stand.asked == [weights_name("a" * 64)]
    stand.remove()
    assert len(stand.asked) == 1


def test_the_old_release_stays_until_every_process_knows_the_new_one(stand: Stand) -> None:
    old = stand.made("a" * 64)
    stand.made("b" * 64, version=2)
    stand.remove(grace=3600.0)
    assert old.exists()
    assert stand.asked == []


def test_an_engine_that_answers_with_it_is_asked_again(stand: Stand) -> None:
    stand.made("a" * 64)
    stand.made("b" * 64, version=2)
    stand.busy = True
    stand.remove()
    stand.busy = False
    stand.remove()
    stand.remove()
    assert stand.asked == [weights_name("a" * 64)] * 2


def test_what_a_process_that_died_has_left_is_removed_by_the_next(stand: Stand) -> None:
    release = stand.made("a" * 64)
    stand.database.delete_model(caller(), NAME)
    assert release.exists()
    stand.remove()
    assert (release.exists(), stand.adapter("a" * 64).exists()) == (False, False)


def test_weights_that_another_model_has_too_stay(stand: Stand) -> None:
    release, other = stand.made("a" * 64), stand.made("a" * 64, name="ft:smollm2-135m:acme::other", version=1)
    stand.database.delete_model(caller(), NAME)
    stand.remove()
    # Both have one folder here, as one release under two names would.
    assert release == other
    assert (release.exists(), stand.adapter("a" * 64).exists()) == (True, True)
    assert stand.asked == []


def test_those_that_stay_keep_no_other_waiting(stand: Stand) -> None:
    many = [(f"{number:016x}" * 4, f"ft:smollm2-135m:acme::{number}") for number in range(1, 46)]
    releases = [stand.made(weights, name=name) for weights, name in many]
    for _, name in many:
        stand.database.delete_model(caller(), name)
    # More than are looked at together.
    stand.stuck = {weights_name(weights) for weights, _ in many[:25]}
    stand.remove()
    assert len(stand.database.retired_releases(older_than=4e9, limit=100)) == 25
    assert not any(release.exists() for release in releases)


def test_a_round_that_took_too_long_is_gone_on_with(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [(f"{number:016x}" * 4, f"ft:smollm2-135m:acme::{number}") for number in range(1, 6)]
    for weights, name in many:
        stand.made(weights, name=name)
        stand.database.delete_model(caller(), name)
    stand.busy = True
    monkeypatch.setattr("watchword.service.releases._ROUND_SECONDS", -1.0)
    for _ in many:
        stand.remove()
    assert sorted(stand.asked) == sorted(weights_name(weights) for weights, _ in many)
    # And round again.
    stand.remove()
    assert stand.asked[-1] == stand.asked[0]


def test_one_that_fails_keeps_no_other_waiting(stand: Stand) -> None:
    stand.recorded("a" * 64, "nonsense://nowhere/releases/model/v1-job12345-1")
    stand.database.delete_model(caller(), NAME)
    other = stand.made("b" * 64, name="ft:smollm2-135m:acme::other")
    stand.database.delete_model(caller(), "ft:smollm2-135m:acme::other")
    for _ in range(2):
        stand.remove()
    assert not other.exists()
    assert len(stand.database.retired_releases(older_than=4e9)) == 1


@pytest.fixture
def remote(store: str, tmp_path: Path) -> Iterator[Stand]:
    """A machine of a service whose releases are in an object store."""
    with opened(f"sqlite:///{tmp_path / 'service.db'}") as database:
        place = PlaceSettings(releases=f"{store}/releases")
        yield Stand(ServiceSettings(data=tmp_path / "data", service=place), database)


def put(place: Address, name: str = MANIFEST) -> str:
    """A file of a release in a store; where the release is."""
    with place.file_system() as (system, path):
        system.pipe_file(f"{path}/{name}", b"{}")
    return place.whole


def test_what_crashes_have_left_in_a_store_goes_after_a_day(remote: Stand) -> None:
    model = remote.settings.release_place.below("model")
    remote.recorded("a" * 64, put(model.below("v1-job12345-2")))
    put(model.below("v1-job12345-1"), "adapter_model.safetensors")
    put(model.below("v1-job99999-1"))
    # What an operator keeps there is none of ours.
    put(remote.settings.release_place.below("bakery"))
    left = RemoteFolder(remote.settings.release_place.whole)
    before = set(left.below())
    assert len(before) == 4
    day = 86_400.0
    assert sweep_strays(remote.settings.release_place, remote.database, time.time() - day) == 0
    assert set(left.below()) == before
    assert sweep_strays(remote.settings.release_place, remote.database, time.time() + day) == 2
    assert set(left.below()) == {f"model/v1-job12345-2/{MANIFEST}", f"bakery/{MANIFEST}"}


def test_a_store_that_is_away_is_swept_when_it_is_back(remote: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    put(remote.settings.release_place.below("model").below("v1-job12345-1"))
    # As if the day that a stray is kept had passed.
    monkeypatch.setattr("watchword.service.strays.changed_at", lambda facts: 0.0)

    def away(*_: Any) -> None:
        raise DataError("the folder cannot be read: the store is away")

    with monkeypatch.context() as patched:
        patched.setattr(RemoteFolder, "below", away)
        remote.remove()
    left = RemoteFolder(remote.settings.release_place.whole)
    assert left.below()
    remote.remove()
    assert left.below() == {}


def test_another_spelling_of_the_stores_url_makes_no_release_a_stray(remote: Stand) -> None:
    place = put(remote.settings.release_place.below("model").below("v1-job12345-2"))
    remote.recorded("a" * 64, place.replace("/releases/", "/./releases/"))
    assert sweep_strays(remote.settings.release_place, remote.database, 4e9) == 0


def test_what_nobody_names_in_a_folder_goes_after_a_day_too(stand: Stand) -> None:
    """A claim was lost behind its publishing, for example, and the database could not be asked."""
    releases = stand.settings.releases
    kept, stray, others = (releases / name for name in ("model/v1-job12345-2", "model/v1-job12345-1", "bakery/mine"))
    for folder in (kept, stray, others):
        folder.mkdir(parents=True)
        (folder / MANIFEST).touch()
    stand.recorded("a" * 64, str(kept))
    day = 86_400.0
    assert sweep_strays(stand.settings.release_place, stand.database, time.time() - day) == 0
    assert sweep_strays(stand.settings.release_place, stand.database, time.time() + day) == 1
    assert [folder.exists() for folder in (kept, stray, others)] == [True, False, True]


def test_a_copy_whose_model_others_have_removed_leaves_this_machine(remote: Stand, tmp_path: Path) -> None:
    kept, gone = release_folder(tmp_path, seed=1), tmp_path / "gone"
    gone.mkdir()
    weights, copies = dict[str, str](), dict[str, Path]()
    for name, folder in (("kept", kept), ("gone", release_folder(gone, seed=2))):
        digest = weights[name] = read_manifest(folder).weights_digest
        copies[name] = remote.settings.fetched / name
        shutil.copytree(folder, copies[name] / "version")
        remote.adapter(digest).mkdir(parents=True)
    (remote.settings.fetched / "gone" / ".fetching-1").mkdir()
    remote.recorded(weights["kept"], "memory://elsewhere/model/v1-job12345-1")
    remote.busy = True
    remote.remove()
    # The engine answers with it; whoever comes too late finds no adapter to load again.
    assert copies["gone"].exists()
    assert not remote.adapter(weights["gone"]).exists()
    remote.busy = False
    remote.remove(grace=3600.0)
    assert copies["gone"].exists()
    remote.remove()
    assert [copies[name].exists() for name in ("kept", "gone")] == [True, False]
    assert remote.adapter(weights["kept"]).exists()
    assert set(remote.asked) == {weights_name(weights["gone"])}


def test_a_copy_that_stays_keeps_no_other_waiting(
    remote: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = []
    for seed in range(3):
        folder = tmp_path / str(seed)
        folder.mkdir()
        shutil.copytree(release_folder(folder, seed=seed), remote.settings.fetched / str(seed) / "version")
        copies.append(remote.settings.fetched / str(seed))
    remote.busy = True
    # Each round has the time for one.
    with monkeypatch.context() as patched:
        patched.setattr("watchword.service.releases._ROUND_SECONDS", -1.0)
        for _ in copies:
            remote.remove()
    assert len(set(remote.asked)) == 3
    remote.busy = False
    remote.remove()
    assert not any(copy.exists() for copy in copies)
