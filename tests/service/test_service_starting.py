"""Starting the service where it cannot run, and ending a part of it: told at once, in words that name the fix."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from support.gateway_parts import wait_until
from watchword.cli.app import run as main
from watchword.service.engine_place import free_port

pytestmark = pytest.mark.integration


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("only", [(), ("--only", "api")])
def test_a_port_that_is_taken_is_told_before_anything_starts(
    only: tuple[str, ...],
    taken: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WATCHWORD_ENGINE_KEY", "a")
    assert main(["serve", "--data", str(tmp_path), "--port", str(taken), *only]) != 0
    said = capsys.readouterr().err
    assert f"cannot listen at 127.0.0.1, port {taken}: Address already in use" in said
    assert "give another host or port" in said


def test_an_address_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--data", str(tmp_path), "--host", "300.1.1.1"]) != 0
    assert "cannot listen at 300.1.1.1" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["storage", "releases"])
def test_a_store_that_nothing_here_can_open_is_told_before_the_first_job(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "service.toml").write_text(f'[service]\n{place} = "s3://watchword/{place}"\n')
    # As where it is not installed.
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(import_module("fsspec.registry")._registry, "s3", raising=False)
    assert main(["serve", "--data", str(tmp_path / "data"), "--config", str(tmp_path / "service.toml")]) != 0
    said = capsys.readouterr().err
    assert f"s3://watchword/{place}" in said
    assert "pip install 'watchword[s3]'" in said


def test_releases_have_a_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "service.toml").write_text('[service]\nreleases = "-"\n')
    assert main(["serve", "--data", str(tmp_path / "data"), "--config", str(tmp_path / "service.toml")]) != 0
    assert "releases need a folder or a URL" in capsys.readouterr().err


def test_an_api_apart_from_its_engine_is_told_of_their_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WATCHWORD_ENGINE_KEY", raising=False)
    assert main(["serve", "--data", str(tmp_path), "--port", "0", "--only", "api"]) != 0
    said = capsys.readouterr().err
    assert "WATCHWORD_ENGINE_KEY holds no key for the embedded engine" in said
    # Nothing of the gateway's own settings, which the service's do not have.
    assert "upstreams" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_part_that_was_told_to_stop_has_not_failed(number: int, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-m", "watchword", "serve", "--only", "api", "--data", str(tmp_path / "service")]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=stream,
            stderr=stream,
            env=os.environ | {"WATCHWORD_ENGINE_KEY": "a"},
        )
    try:
        wait_until(lambda: process.poll() is not None or _lives(port), 120)
        process.send_signal(number)
        assert process.wait(60) == 0, log.read_text()
        assert "error: " not in log.read_text()
    finally:
        process.kill()
        process.wait()


def _lives(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.mark.parametrize("days", ["inf", "1e300", "1e9", "nan", "-1"])
def test_a_key_lasts_ten_years_at_most(days: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "bakery", "--data", str(tmp_path), "--expires-days", days]) == 2
    assert "--expires-days" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--after", "--limit"])
def test_an_entry_beyond_any_number_is_refused(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "show", "--data", str(tmp_path), option, str(2**63)]) == 2
    assert option in capsys.readouterr().err
