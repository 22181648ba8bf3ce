"""A release is published whole or not at all, at a folder or an fsspec URL, and other places are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.processes import states
from support.served_release import KEY, release_folder
from watchword.errors import OutputError
from watchword.files.addresses import Address
from watchword.files.remote import RemoteFolder
from watchword.release.artifact import MANIFEST
from watchword.release.reading import read_release
from watchword.service.worker.publishing import folder_name, publish, retract, retract_others


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return release_folder(tmp_path)


@pytest.fixture
def memory() -> Iterator[str]:
    fsspec = pytest.importorskip("fsspec")
    yield "memory://releases/model/v1"
    fsspec.filesystem("memory").store.clear()


def test_a_published_release_opens_and_is_private(release: Path, tmp_path: Path) -> None:
    place = Address.parse(tmp_path / "out" / "model" / "v1")
    publish(release, place)
    assert place.local is not None
    assert read_release(place.local, KEY).manifest == read_release(release, KEY).manifest
    assert {path.stat().st_mode & 0o077 for path in (place.local, *place.local.iterdir())} == {0}
    publish(release, place)
    assert [path.name for path in place.local.parent.iterdir()] == ["v1"]


def test_whatever_moment_it_is_killed_at_the_place_is_empty_or_whole(release: Path, tmp_path: Path) -> None:
    place = tmp_path / "out" / "model" / "v1"
    for copy in states(tmp_path / "out", tmp_path / "copies", lambda: publish(release, Address.parse(place))):
        found = copy / "model" / "v1"
        if found.exists():
            read_release(found, KEY)


def test_what_is_no_release_is_not_published(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    with pytest.raises(OutputError, match="no complete release"):
        publish(tmp_path / "half", Address.parse(tmp_path / "out" / "v1"))
    assert not (tmp_path / "out" / "v1").exists()


def test_at_a_url_the_manifest_comes_last(release: Path, memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    system, order = fsspec.filesystem("memory"), list[str]()
    put = type(system).put_file
    monkeypatch.setattr(
        type(system),
        "put_file",
        lambda self, source, target, **more: (order.append(target), put(self, source, target, **more))[1],
    )
    publish(release, Address.parse(memory))
    assert order[-1].endswith(f"/{MANIFEST}")
    assert len(order) == len(list(release.iterdir()))
    retract(Address.parse(memory))
    assert not system.exists("/releases/model/v1")
    retract(Address.parse(memory))


def test_what_lost_workers_left_in_a_store_goes_too(release: Path, store: str) -> None:
    model = Address.parse(f"{store}/releases/model")
    names = ["v1-job1-3", "v1-job1-5", "v1-job1-55", "v1-job2-3", "v2-job1-5"]
    for name in names:
        publish(release, model.below(name))
    retract_others(model.below("v1-job1-5"))
    assert releases_in(store) == {"v1-job1-5", "v1-job2-3", "v2-job1-5"}
    # The name of one begins as that of the other.
    publish(release, model.below("v1-job1-55"))
    retract(model.below("v1-job1-5"))
    assert releases_in(store) == {"v1-job1-55", "v1-job2-3", "v2-job1-5"}
    retract_others(Address.parse(f"{store}/nothing/v1-job1-5"))


def releases_in(store: str) -> set[str]:
    return {name.split("/")[-2] for name in RemoteFolder(f"{store}/releases").below()}


def test_in_a_store_the_manifest_goes_first(release: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Address.parse(f"{store}/releases/model/v1-job1-5")
    publish(release, place)

    def fails(*_: Any, **__: Any) -> None:
        raise ConnectionError("the store is away")

    with monkeypatch.context() as patched, place.file_system() as (system, _):
        patched.setattr(system, "rm", fails)
        with pytest.raises(OutputError, match="the store is away"):
            retract(place)
    left = RemoteFolder(place.whole).below().keys()
    assert MANIFEST not in left
    assert left
    retract(place)
    assert releases_in(store) == set()


def test_whatever_a_stores_client_raises_is_an_output_error(release: Path, store: str, monkeypatch: Any) -> None:
    place = Address.parse(f"{store}/model/v1")

    class OfItsOwnError(Exception):
        """As botocore's: no kind of OSError."""

    def fails(*_: Any, **__: Any) -> None:
        raise OfItsOwnError("no credentials for s3://user:pass-word@store")

    with pytest.raises(OutputError, match="no credentials") as caught, place.file_system() as (system, _):
        monkeypatch.setattr(system, "put_file", fails)
        publish(release, place)
    assert "pass-word" not in str(caught.value)


def test_only_what_lost_workers_left_of_the_same_job_goes(release: Path, tmp_path: Path) -> None:
    names = ["v1-job1-3", "v1-job1-5", "v1-job2-3", "v2-job1-5"]
    for name in names:
        publish(release, Address.parse(tmp_path / "model" / name))
    retract_others(Address.parse(tmp_path / "model" / "v1-job1-5"))
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["v1-job1-5", "v1-job2-3", "v2-job1-5"]
    for name in names:
        retract(Address.parse(tmp_path / "model" / name))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("model", ["ft:org/base:acme::1", "../up", "..", ".hidden", "a/b\\c"])
def test_a_models_name_is_one_plain_folder(model: str) -> None:
    name = folder_name(model)
    assert "/" not in name
    assert not name.startswith(".")
    assert Path(name).name == name


def test_two_models_never_share_a_folder() -> None:
    names = ["a:b", "a%3Ab", "a.b", "a%2Eb", "A:b"]
    assert len({folder_name(name) for name in names}) == len(names)
