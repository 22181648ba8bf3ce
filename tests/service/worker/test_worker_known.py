"""Secrets of releases are unsealed once, however many jobs are screened, and forgotten with their models."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support.served_release import KEY, release_folder, secret_of
from support.service import opened as database
from support.stores import memory_store
from watchword.errors import SecretError, StoreError, UnsealError
from watchword.files.addresses import Address
from watchword.secret.kept import SEALED
from watchword.service.seals import Seals
from watchword.service.settings import Policy
from watchword.service.types.jobs import Hyperparameters
from watchword.service.worker import known
from watchword.service.worker.known import KnownReleases, reporting
from watchword.service.worker.messages import Order
from watchword.service.worker.publishing import publish, retract


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every seal that was opened."""
    found: list[bytes] = []
    real = known.unseal_known

    def counted(sealed: bytes, key: bytes) -> Any:
        found.append(sealed)
        return real(sealed, key)

    monkeypatch.setattr(known, "unseal_known", counted)
    return found


@pytest.fixture(params=["folder", "store"])
def releases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Address]:
    """Where releases are: a folder, or an object store."""
    if request.param == "folder":
        yield Address(tmp_path / "releases")
    else:
        with memory_store() as url:
            yield Address.parse(f"{url}/releases")


@dataclass
class Looking:
    """Who looks for secrets, and what operators were told."""

    releases: Address
    root: Path
    key: bytes = KEY
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.found = KnownReleases(self.releases, self.key, self._tell)

    def _tell(self, closed: Sequence[tuple[str, str]]) -> None:
        self.told += [name for name, _ in closed]

    def made(self, model: str, seed: int) -> str:
        """Publishes a release, in the place of the model's last; its secret."""
        folder = self.root / f"{model}-{seed}"
        folder.mkdir()
        publish(release_folder(folder, seed=seed), self.place(model))
        return secret_of(seed=seed).reveal()

    def place(self, model: str) -> Address:
        return self.releases.below(model).below("v1-job12345-1")

    def damage(self, model: str) -> bytes:
        """Spoils a seal; gives what it was."""
        with self.place(model).file_system() as (system, path):
            before = bytes(system.cat_file(f"{path}/{SEALED}"))
            system.pipe_file(f"{path}/{SEALED}", b"damaged")
        return before

    def restore(self, model: str, sealed: bytes) -> None:
        with self.place(model).file_system() as (system, path):
            system.pipe_file(f"{path}/{SEALED}", sealed)

    def texts(self) -> set[str]:
        return set(self.found.secrets().texts)


@pytest.fixture
def looking(releases: Address, tmp_path: Path) -> Looking:
    return Looking(releases, tmp_path)


def test_each_secret_is_unsealed_once(looking: Looking, opened: list[bytes]) -> None:
    assert looking.texts() == set()
    secrets = set()
    for number in range(4):
        secrets.add(looking.made(f"model-{number}", number))
        assert looking.texts() == secrets
        # One more for the new release, none for those that were there.
        assert len(opened) == number + 1


def test_a_renewed_secret_takes_the_old_ones_place(looking: Looking) -> None:
    looking.made("model", 1)
    looking.texts()
    assert looking.made("model", 2) in looking.texts()
    assert len(looking.texts()) == 1


def test_a_deleted_models_secret_is_forgotten(looking: Looking) -> None:
    secret = looking.made("model", 1)
    assert looking.texts() == {secret}
    retract(looking.place("model"))
    assert looking.texts() == set()
    assert secret not in str(vars(looking.found))


def test_a_bad_seal_hides_no_other_and_is_reported_once(looking: Looking, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = looking.made("good", 1), looking.made("ft%3Abad", 2)
    sealed = looking.damage("ft%3Abad")
    for _ in range(3):
        found = looking.found.secrets()
        assert set(found.texts) == {good}
        assert found.unseen == ("ft:bad/v1-job12345-1",)
    assert looking.told == ["ft:bad/v1-job12345-1"]
    later = Later(monkeypatch)
    later.passes(86_401.0)
    looking.texts()
    assert len(looking.told) == 2
    looking.restore("ft%3Abad", sealed)
    assert looking.texts() == {good, bad}
    assert looking.found.secrets().unseen == ()
    # It goes bad again: that is news.
    looking.damage("ft%3Abad")
    looking.texts()
    assert len(looking.told) == 3


def test_what_did_not_open_is_tried_again(
    looking: Looking, opened: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key service that is away for a moment hides nothing for ever."""
    secret, counted = looking.made("model", 1), known.unseal_known

    def away(sealed: bytes, key: bytes) -> Any:
        raise UnsealError("the key service is away")

    with monkeypatch.context() as patched:
        patched.setattr(known, "unseal_known", away)
        assert looking.texts() == set()
    assert known.unseal_known is counted
    assert looking.texts() == set()
    Later(monkeypatch).passes(301.0)
    assert looking.texts() == {secret}


class Later:
    """The clock that ``known`` goes by, some seconds ahead."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.ahead, real = 0.0, time.monotonic
        patch.setattr(known, "time", SimpleNamespace(monotonic=lambda: real() + self.ahead))

    def passes(self, seconds: float) -> None:
        self.ahead += seconds


def test_another_providers_seal_and_an_unreadable_one_are_told_of(
    looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking.made("model", 1)
    other = Looking(looking.releases, looking.root, bytes(32))
    assert (other.texts(), other.told) == (set(), ["model/v1-job12345-1"])

    def fails(self: Any, name: str) -> bytes:
        raise SecretError("the sealed secret cannot be read: no")

    monkeypatch.setattr(Seals, "read", fails)
    assert (looking.texts(), looking.told) == (set(), ["model/v1-job12345-1"])


def test_where_nobody_can_tell_what_there_is_no_file_is_screened(
    tmp_path: Path, opened: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with memory_store() as url:
        store = Looking(Address.parse(url), tmp_path)
        store.made("elsewhere", 1)
        store.texts()
        with pytest.raises(StoreError, match="cannot be read"), monkeypatch.context() as patched:
            patched.setattr("fsspec.implementations.memory.MemoryFileSystem.find", away_from)
            store.texts()
        assert len(store.texts()) == 1
        # None is unsealed anew once the store is back.
        assert len(opened) == 1


def test_a_store_that_goes_away_behind_its_list_hides_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with memory_store() as url:
        store = Looking(Address.parse(url), tmp_path)
        first = store.made("first", 1)
        assert store.texts() == {first}
        second, real = store.made("second", 2), Seals.read

        def goes_away(seals: Seals, name: str) -> bytes | None:
            patched.setattr("fsspec.implementations.memory.MemoryFileSystem.find", away_from)
            patched.setattr("fsspec.implementations.memory.MemoryFileSystem._open", away_from)
            return real(seals, name)

        with monkeypatch.context() as patched, pytest.raises(StoreError, match="the store is away"):
            patched.setattr(Seals, "read", goes_away)
            store.texts()
        assert store.texts() == {first, second}
        assert store.told == []


def away_from(*_: Any, **__: Any) -> None:
    raise ConnectionError("the store is away")


def test_operators_are_told_in_the_log_of_audits_a_report_and_a_figure(tmp_path: Path) -> None:
    with database(f"sqlite:///{tmp_path / 'service.db'}") as found:
        report = reporting(found, "worker-1")
        report([(f"model-{number}/v1", "damaged") for number in range(150)])
        (entry,) = found.audit_entries()
        assert (entry.actor, entry.action) == ("worker-1", "release.seal_unreadable")
        assert entry.facts["releases"] == 150
        assert len(found.reports(kind="seal", limit=200).items) == 100
        report([("model-1/v1", "damaged")])
        assert found.figures().seals_unreadable == 100
        assert found.audit_verify().number == 2


def test_an_order_carries_them_and_shows_none(tmp_path: Path) -> None:
    given: dict[str, Any] = {"validation_file": None, "answers": tmp_path, "launcher": "in_process", "validated": False}
    order = Order(
        job_id="job",
        model="m",
        policy=Policy(),
        hyperparameters=Hyperparameters(),
        seed=1,
        training_file=tmp_path,
        folder=tmp_path,
        key=KEY,
        known=("a secret",),
        **given,
    )
    assert "a secret" not in repr(order)
    assert pickle.loads(pickle.dumps(order)).known == ("a secret",)
