"""OpenAI's client for JavaScript against a running service: the second client, which shares no code with the first."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.service_parts import BASE, CSV, ServiceUnderTest, rows

pytestmark = pytest.mark.integration
SCRIPT = Path(__file__).parents[2] / "support" / "tenant.mjs"
VERSION = "7.59.0"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which scripts find the package openai."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no Node.js here")
    folder = tmp_path_factory.mktemp("node")
    # Every other test is kept from the package indexes, and this one has nothing to do with Python's.
    done = subprocess.run(
        ["npm", "install", "--silent", "--no-audit", "--no-fund", f"openai@{VERSION}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        pytest.skip(f"npm cannot install openai@{VERSION}: {done.stderr[-200:]}")
    shutil.copy(SCRIPT, folder)
    return folder


def test_the_client_for_javascript_gets_all_that_the_other_one_gets(
    node: Path, service: ServiceUnderTest, tmp_path: Path
) -> None:
    training = tmp_path / "node.jsonl"
    training.write_bytes(rows())
    done = subprocess.run(
        ["node", SCRIPT.name, f"{service.url}/v1", service.key, BASE, training],
        cwd=node,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "NODE_NO_WARNINGS": "1"},
    )
    assert done.returncode == 0, done.stderr
    got: dict[str, Any] = json.loads(done.stdout)
    assert (got["file"]["status"], got["file"]["filename"], got["bad"]["status"]) == (
        "processed",
        "node.jsonl",
        "error",
    )
    assert "line 1" in got["bad"]["status_details"]
    assert got["content"].encode() == rows()
    job = got["job"]
    assert (job["status"], job["metadata"], got["found"]) == ("succeeded", {"by": "node"}, [job["id"]])
    assert got["events"][-1] == f"Created fine-tuning job: {job['id']}"
    assert (got["checkpoints"], got["results"]) == (2, CSV)
    assert got["whole"] == got["streamed"] == "Mix flour, water and salt."
    assert got["errors"] == {
        "missing": {"kind": "NotFoundError", "code": "not_found", "id": True},
        "ended": {"kind": "BadRequestError", "code": "invalid_state", "id": True},
        "key": {"kind": "AuthenticationError", "code": "invalid_api_key", "id": True},
    }
    assert got["models"] == [BASE, job["fine_tuned_model"]]
    assert got["deleted"]
