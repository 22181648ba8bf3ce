"""Checks of uploads go on beside the calls: many of them at once stop no call, and each tenant's own bound holds."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path

import openai
import pytest

from support.gateway_parts import call, wait_until
from support.service_parts import ServiceUnderTest, rows, running_service
from watchword.errors import DatabaseError
from watchword.files.writing import writing
from watchword.service.checking import CheckedFile, FileChecker
from watchword.service.db import Database
from watchword.service.settings import TenantLimits
from watchword.service.storage import BlobWriter


def test_files_that_wait_for_their_check_stop_no_call(idle: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than there are threads for calls."""
    go_on, client = threading.Event(), idle.client()

    def slow(self: FileChecker, path: Path) -> CheckedFile:
        go_on.wait(60)
        return CheckedFile(None)

    monkeypatch.setattr(FileChecker, "check", slow)
    with contextlib.ExitStack() as stack:
        stack.callback(go_on.set)
        for _ in range(45):
            client.files.create(file=("a.jsonl", rows(1)), purpose="fine-tune")
        assert call(idle.port, path="/v1/files", method="GET", key=idle.other_key).status == 200
        assert {file.status for file in client.files.list()} == {"uploaded"}
    wait_until(lambda: {file.status for file in client.files.list()} == {"processed"}, 30)


def test_a_tenants_many_files_do_not_hold_up_anothers_one(
    idle: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, order = threading.Event(), []

    def slow(self: FileChecker, path: Path) -> CheckedFile:
        go_on.wait(60)
        return CheckedFile(None)

    def settled(self: Database, file_id: str, *_: object) -> None:
        order.append(file_id)

    monkeypatch.setattr(FileChecker, "check", slow)
    monkeypatch.setattr(Database, "settle_file", settled)
    many, other = idle.client(), idle.client(idle.other_key)
    with contextlib.ExitStack() as stack:
        stack.callback(go_on.set)
        for _ in range(10):
            many.files.create(file=("a.jsonl", rows(1)), purpose="fine-tune")
        one = other.files.create(file=("a.jsonl", rows(1)), purpose="fine-tune")
    wait_until(lambda: len(order) == 11, 60)
    assert order.index(one.id) <= 2


@pytest.mark.integration
def test_a_tenant_with_a_larger_bound_may_use_it(tmp_path: Path, provider_key: None) -> None:
    limits = TenantLimits(file_bytes=500)
    tenants = {"bakery": TenantLimits(file_bytes=5000)}
    with running_service(tmp_path, worker=False, limits=limits, tenants=tenants) as service:
        client = service.client()
        file = client.files.create(file=("a.jsonl", rows(20)), purpose="fine-tune")
        assert file.bytes > limits.file_bytes
        wait_until(lambda: client.files.retrieve(file.id).status != "uploaded", 60)
        assert client.files.retrieve(file.id).status == "processed"


def test_a_check_that_failed_is_noted_and_made_again(
    idle: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    """Its call was answered long before: there is nobody else to tell."""

    def fails(*_: object) -> None:
        raise DatabaseError("the database does not answer") from OSError(errno.ENOSPC, "a tenant's words")

    monkeypatch.setattr(Database, "settle_file", fails)
    file = idle.client().files.create(file=("a.jsonl", rows(1)), purpose="fine-tune")
    wait_until(lambda: any("check failed" in line for line in lines), 60)
    (line,) = [line for line in lines if "check failed" in line]
    assert file.id in line
    assert os.strerror(errno.ENOSPC) in line
    assert not [line for line in lines if "failure" in line or "words" in line]
    assert idle.database.unchecked_files(older_than=idle.database._now() + 1)


def test_a_full_disk_is_a_503_and_named_in_the_log(
    idle: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    def full(*_: object) -> None:
        with writing("a place of the provider's"):
            raise OSError(errno.ENOSPC, "a tenant's words")

    monkeypatch.setattr(BlobWriter, "write", full)
    with pytest.raises(openai.InternalServerError) as failed:
        idle.client().files.create(file=("a.jsonl", rows(1)), purpose="fine-tune")
    assert (failed.value.status_code, failed.value.code) == (503, "service_unavailable")
    assert "place" not in failed.value.response.text
    wait_until(lambda: any("failure" in line for line in lines))
    (line,) = [line for line in lines if "failure" in line]
    assert os.strerror(errno.ENOSPC) in line
    assert "words" not in line
