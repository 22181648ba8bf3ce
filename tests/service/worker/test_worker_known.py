"""Secrets of releases are unsealed once, however many jobs are screened, and forgotten with their models."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from support.served_release import KEY, release_folder, secret_of
from watchword.errors import SecretError
from watchword.secret.kept import SEALED
from watchword.service.settings import Policy
from watchword.service.types import Hyperparameters
from watchword.service.worker import known
from watchword.service.worker.known import KnownReleases
from watchword.service.worker.messages import Order


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


def made(releases: Path, model: str, seed: int) -> str:
    folder = releases / model
    folder.mkdir(parents=True)
    release_folder(folder, seed=seed)
    return secret_of(seed=seed).reveal()


def test_each_secret_is_unsealed_once(tmp_path: Path, opened: list[bytes]) -> None:
    found, secrets = KnownReleases(tmp_path, KEY), []
    for number in range(4):
        secrets.append(made(tmp_path, f"model-{number}", number))
        assert set(found.texts()) == set(secrets)
        # One more for the new release, none for those that were there.
        assert len(opened) == number + 1


def test_a_renewed_secret_takes_the_old_ones_place(tmp_path: Path) -> None:
    found = KnownReleases(tmp_path, KEY)
    made(tmp_path, "model", 1)
    found.texts()
    next(tmp_path.rglob(SEALED)).unlink()
    release_folder(tmp_path / "model", seed=2)
    assert found.texts() == (secret_of(seed=2).reveal(),)


def test_a_deleted_models_secret_is_forgotten(tmp_path: Path) -> None:
    found = KnownReleases(tmp_path, KEY)
    secret = made(tmp_path, "model", 1)
    assert found.texts() == (secret,)
    next(tmp_path.rglob(SEALED)).unlink()
    assert found.texts() == ()
    assert secret not in str(vars(found))


def test_another_providers_seal_is_left_out_and_an_unreadable_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, "model", 1)
    assert KnownReleases(tmp_path, bytes(32)).texts() == ()

    def fails(path: Path) -> bytes:
        raise PermissionError(13, "no")

    monkeypatch.setattr(Path, "read_bytes", fails)
    with pytest.raises(SecretError, match="cannot be read"):
        KnownReleases(tmp_path, KEY).texts()


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
