"""Checks of uploads go on beside the calls: many of them at once stop no call, and each tenant's own bound holds."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest

from support.gateway_parts import call, wait_until
from support.service_parts import ServiceUnderTest, rows, running_service
from watchword.service.checking import CheckedFile, FileChecker
from watchword.service.settings import TenantLimits


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
