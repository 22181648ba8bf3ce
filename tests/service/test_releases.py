"""A release that no model has any more goes from the disk and from the engine, also where a process died in between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.service import a_job, caller, opened
from watchword.release.engine import weights_name
from watchword.service.db import Database
from watchword.service.jobs.machine import JobAction
from watchword.service.releases import Removal
from watchword.service.settings import ServiceSettings
from watchword.service.types import NewModel, Succeeded

NAME = "ft:smollm2-135m:acme::made"


@dataclass
class Stand:
    """Releases in folders, the engine's copies beside them, and what the engine was asked to forget."""

    settings: ServiceSettings
    database: Database
    asked: list[str] = field(default_factory=list)
    busy: bool = False

    def made(self, weights: str, *, name: str = NAME, version: int = 1) -> Path:
        """A model, or its next version, whose release and whose copy for the engine are on the disk."""
        release = self.settings.releases / f"{weights[0]}-{version}"
        for folder in (release, self.adapter(weights)):
            folder.mkdir(parents=True, exist_ok=True)
        a_job(self.database, replaces=name if version > 1 else None)
        claim = self.database.claim("w", 60.0)
        assert claim is not None
        self.database.advance(claim, JobAction.VALIDATED)
        self.database.advance(claim, JobAction.STARTED)
        made = NewModel(name, "smollm2-135m", str(release), weights, version)
        self.database.finish(claim, Succeeded(made, trained_tokens=1))
        return release

    def adapter(self, weights: str) -> Path:
        return self.settings.adapters / weights_name(weights)

    def remove(self, grace: float = -1.0) -> None:
        asyncio.run(Removal(self.settings, self.database, self._unload).of_all(grace=grace))

    async def _unload(self, name: str) -> bool:
        self.asked.append(name)
        return not self.busy


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
