"""Blobs: whole or not there, private, checked when they are read, and gone once they are deleted."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from support.store_outages import Outage
from support.stores import s3_store
from watchword.errors import DataError, NotFoundError, QuotaError, StoreError, UnsealError, UsageError
from watchword.files.digest import sha256_bytes
from watchword.secret.wrapping import LocalKeys
from watchword.service.storage import Blobs

KEYS = LocalKeys(bytes(32))
LATER = 4e9
_numbers = itertools.count()


@pytest.fixture(params=["folder", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    """In a local folder, and at an fsspec URL."""
    return Blobs(tmp_path / "blobs" if request.param == "folder" else f"memory://blobs{next(_numbers)}", KEYS)


def test_what_was_put_comes_back(blobs: Blobs) -> None:
    blob = blobs.put([b"one ", b"two"])
    assert (blob.sha256, blob.bytes) == (sha256_bytes(b"one two"), 7)
    assert b"".join(blobs.chunks(blob.name)) == b"one two"
    with blobs.local(blob.name) as path:
        assert path.read_bytes() == b"one two"
    assert blobs.put(b"one two").name != blob.name


def test_a_deleted_blob_is_gone_and_others_of_the_same_bytes_stay(blobs: Blobs) -> None:
    first, second = blobs.put(b"same"), blobs.put(b"same")
    blobs.delete(first.name)
    blobs.delete(first.name)
    assert not blobs.exists(first.name)
    with pytest.raises(NotFoundError, match="content is gone"):
        list(blobs.chunks(first.name))
    assert b"".join(blobs.chunks(second.name)) == b"same"


def test_more_bytes_than_may_be_leave_nothing(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    with pytest.raises(QuotaError, match="larger than 5 bytes"):
        blobs.put([b"1234", b"56"], most=5)
    assert blobs.put(b"12345", most=5).bytes == 5
    assert [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()] == [5]


def test_what_was_not_committed_is_gone(tmp_path: Path) -> None:
    with Blobs(tmp_path).writer() as writer:
        writer.write(b"half")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_nobody_else_may_read_a_blob(tmp_path: Path) -> None:
    blob = Blobs(tmp_path / "blobs").put(b"rows")
    (path,) = (tmp_path / "blobs").rglob(blob.name)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_blob_that_was_changed_is_not_taken(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    blob = blobs.put(b"rows")
    (path,) = tmp_path.rglob(blob.name)
    path.write_bytes(b"rowz")
    with pytest.raises(DataError, match="was changed in the storage"), blobs.local(blob.name):
        pass


def test_a_sealed_blob_opens_for_its_binding_only(blobs: Blobs) -> None:
    blob = blobs.put_sealed([b"guarded "] * 40_000, {"job": "1"})
    assert b"".join(blobs.sealed_chunks(blob.name, {"job": "1"})) == b"guarded " * 40_000
    assert b"guarded" not in b"".join(blobs.chunks(blob.name))
    with pytest.raises(UnsealError):
        next(blobs.sealed_chunks(blob.name, {"job": "2"}))


def test_whatever_a_stores_client_raises_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    class OfItsOwnError(Exception):
        """As botocore's: no kind of OSError."""

    def fails(*_: Any, **__: Any) -> None:
        raise OfItsOwnError("no credentials for s3://user:pass-word@store")

    blobs = Blobs(f"memory://blobs{next(_numbers)}")
    name = blobs.put(b"x").name
    for method in ("info", "find", "rm_file", "put_file", "open"):
        monkeypatch.setattr(f"fsspec.implementations.memory.MemoryFileSystem.{method}", fails)
    calls: list[Callable[[], object]] = [
        lambda: blobs.exists(name),
        lambda: blobs.delete(name),
        lambda: blobs.put(b"y"),
        lambda: blobs.sweep([], older_than=0.0),
        lambda: list(blobs.chunks(name)),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=r"the storage cannot be used.*no credentials") as caught:
            call()
        assert "pass-word" not in str(caught.value)


@pytest.mark.parametrize("error", [ConnectionError, TimeoutError, OSError, RuntimeError])
def test_a_store_that_is_away_is_told_apart_from_one_whose_blob_is_gone(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = Blobs(f"memory://blobs{next(_numbers)}")
    name = blobs.put(b"rows").name
    outage = Outage(error=error).installed(monkeypatch)
    for method in (blobs.local(name).__enter__, lambda: list(blobs.chunks(name)), lambda: blobs.exists(name)):
        outage.away = {"/blobs"}
        with pytest.raises(StoreError, match="nobody answers"):
            method()
    outage.away = set()
    with blobs.local(name) as path:
        assert path.read_bytes() == b"rows"
    blobs.delete(name)
    with pytest.raises(NotFoundError):
        list(blobs.chunks(name))


def test_nobody_at_the_address_of_s3_is_a_store_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_store() as url:
        blobs = Blobs(url)
        name = blobs.put(b"rows").name
        with monkeypatch.context() as patched:
            patched.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
            patched.setenv("AWS_MAX_ATTEMPTS", "1")
            fsspec.get_filesystem_class("s3").clear_instance_cache()
            with pytest.raises(StoreError, match="the storage cannot be used"), blobs.local(name):
                pass
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        assert b"".join(blobs.chunks(name)) == b"rows"


def test_below_a_folder_that_is_not_there_nothing_is_gone(tmp_path: Path) -> None:
    """A disk that is not mounted has lost nothing."""
    blobs = Blobs(tmp_path / "mounted" / "blobs")
    name = blobs.put(b"rows").name
    (tmp_path / "mounted").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="cannot be used"):
        list(blobs.chunks(name))
    (tmp_path / "elsewhere").rename(tmp_path / "mounted")
    assert list(blobs.chunks(name)) == [b"rows"]


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "", "ab" * 32, f"{'AB' * 32}.{'0' * 16}", f"{'ab' * 32}.{'0' * 16}/x"]
)
def test_only_names_of_blobs_are_looked_up(name: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no name of a blob"):
        Blobs(tmp_path).exists(name)


def test_a_sweep_removes_what_no_record_names(blobs: Blobs) -> None:
    kept, lost = blobs.put(b"kept"), blobs.put(b"lost")
    assert blobs.sweep([kept.name], older_than=0.0) == 0
    assert blobs.sweep([kept.name], older_than=LATER) == 1
    assert blobs.exists(kept.name)
    assert not blobs.exists(lost.name)


def test_what_blobs_need_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="need a folder or a URL"):
        Blobs("-")
    with pytest.raises(UsageError, match="need the provider's key"):
        Blobs(tmp_path).put_sealed(b"x", {})
