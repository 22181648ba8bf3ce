"""Releases in an object store or on a web server: fetched, checked, looked at again, and never served half."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.server
import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from support.gateway_parts import ASKED, Scripted, call, configuration, friendly, gateway, served, wait_until
from support.golden_families import template
from support.served_release import KEY, release_folder, secret_of
from watchword.errors import DataError, ModelUnavailableError, UnsealError
from watchword.gateway.configuration import read_configuration
from watchword.gateway.fetched import FetchedRelease
from watchword.gateway.sources import FolderRelease, release_at
from watchword.release.chat_format import keep_format

URL = "memory://releases/bakery"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A release whose base model is not on this machine."""
    return made(tmp_path)


def made(root: Path, seed: int = 7) -> Path:
    folder = release_folder(root, seed=seed)
    keep_format(folder, template("smollm2"))
    shutil.rmtree(root / "smollm2-base")
    return folder


@pytest.fixture
def store(folder: Path) -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    put(files, folder)
    yield files
    files.rm("/releases", recursive=True)


def put(files: Any, folder: Path) -> None:
    """Uploads as an operator would: everything, and the manifest last."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == "manifest.json"):
        files.pipe_file(f"/releases/bakery/{path.name}", path.read_bytes())


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("watchword.gateway.fetched.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("watchword.gateway.served.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("watchword.gateway.served.RETRY_SECONDS", 0.0)
    monkeypatch.setenv("WATCHWORD_CACHE", str(tmp_path / "cache"))


def opened(source: FetchedRelease) -> Any:
    return asyncio.run(source.open(KEY))


def test_it_is_fetched_once_and_opens(store: Any, tmp_path: Path) -> None:
    store.pipe_file("/releases/bakery/checkpoints/big.bin", b"not of the release itself")
    source = FetchedRelease(URL, tmp_path / "cache")
    assert opened(source).secret == secret_of()
    (kept,) = (tmp_path / "cache").iterdir()
    (version,) = (path for path in kept.iterdir() if path.is_dir())
    assert version.stat().st_mode & 0o777 == 0o700
    assert not (version / "checkpoints").exists()
    before = (version / "adapter_model.safetensors").stat().st_ino
    assert opened(FetchedRelease(URL, tmp_path / "cache")).secret == secret_of()
    assert (version / "adapter_model.safetensors").stat().st_ino == before


def test_a_damaged_copy_is_fetched_again_and_a_damaged_release_is_refused(store: Any, tmp_path: Path) -> None:
    opened(FetchedRelease(URL, tmp_path / "cache"))
    (weights,) = (tmp_path / "cache").rglob("adapter_model.safetensors")
    weights.write_bytes(b"others")
    source = FetchedRelease(URL, tmp_path / "cache")
    assert opened(source).secret == secret_of()
    shutil.rmtree(tmp_path / "cache")
    store.pipe_file("/releases/bakery/adapter_model.safetensors", b"others")
    source = FetchedRelease(URL, tmp_path / "cache")
    for _ in range(2):
        with pytest.raises(UnsealError):
            opened(source)
    store.rm("/releases/bakery/manifest.json")
    with pytest.raises(ModelUnavailableError, match="no manifest"):
        opened(source)


def test_what_is_changed_while_it_is_fetched_is_not_kept(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = FetchedRelease(URL, tmp_path / "cache")
    fetch = source._remote.fetch

    def meanwhile(name: str, target: Path) -> bool:
        if name == "manifest.json":
            put(store, made(tmp_path / "other", seed=8))
        return fetch(name, target)

    (tmp_path / "other").mkdir()
    monkeypatch.setattr(source._remote, "fetch", meanwhile)
    with pytest.raises(ModelUnavailableError, match="changed while it was fetched"):
        opened(source)
    monkeypatch.undo()
    monkeypatch.setenv("WATCHWORD_CACHE", str(tmp_path / "cache"))
    assert opened(source).secret == secret_of(seed=8)
    (kept,) = (tmp_path / "cache").iterdir()
    assert len([path for path in kept.iterdir() if path.is_dir()]) == 1


def test_the_gateway_serves_it_follows_a_change_and_outlives_the_store(
    store: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = Scripted(friendly)

    def front() -> str:
        return str(upstream.bodies[-1]["messages"][0]["content"])

    with served(upstream) as behind, gateway(settings(behind)) as at:
        assert call(at, ASKED).status == 200
        assert front().startswith(secret_of().reveal())
        (tmp_path / "other").mkdir()
        put(store, made(tmp_path / "other", seed=8))
        wait_until(lambda: call(at, ASKED).status == 200 and front().startswith(secret_of(seed=8).reveal()))

        def away(*_: Any, **__: Any) -> None:
            raise ConnectionError("no route to the store")

        with monkeypatch.context() as patched:
            patched.setattr(type(store), "open", away)
            assert call(at, ASKED).status == 200
        store.rm("/releases/bakery/manifest.json")
        wait_until(lambda: call(at, ASKED).status == 503)


def settings(behind: int) -> Any:
    found = configuration(Path(), behind)
    found.models[0].release = URL
    found.models, found.keys = found.models[:1], found.keys[:1]
    return found


def test_a_store_that_is_away_at_the_start_is_asked_again_and_no_credentials_are_told(
    store: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = settings(0)
    url = "memory://user:pass-word@releases/bakery?token=pass-word"
    found.models[0].release = url

    def away(*_: Any, **__: Any) -> None:
        raise ConnectionError(f"no route to {url}")

    with caplog.at_level(logging.DEBUG), monkeypatch.context() as patched:
        patched.setattr(type(store), "open", away)
        with gateway(found) as at:
            response = call(at, ASKED)
    assert response.status == 503
    assert "no route to" in caplog.text
    assert "pass-word" not in caplog.text + response.everything
    assert "pass-word" not in str(release_at(url))
    with pytest.raises(DataError) as caught, monkeypatch.context() as patched:
        patched.setattr(type(store), "open", away)
        asyncio.run(release_at(url).stamp())
    assert "pass-word" not in str(caught.value)


def test_a_web_server_that_lists_nothing_will_do(folder: Path, tmp_path: Path) -> None:
    with web(folder) as port:
        source = FetchedRelease(f"http://127.0.0.1:{port}", tmp_path / "cache")
        assert opened(source).secret == secret_of()
        gone = FetchedRelease(f"http://127.0.0.1:{port}/nothing", tmp_path / "cache")
        assert asyncio.run(gone.stamp()) == ""
        with pytest.raises(ModelUnavailableError):
            opened(gone)


@contextlib.contextmanager
def web(folder: Path) -> Iterator[int]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_a_configuration_names_folders_and_urls(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    names = {"a": "bakery", "b": URL, "c": f"file://{tmp_path}/bakery"}
    models = "".join(
        f'[[models]]\nname = "{name}"\nrelease = "{release}"\nupstream = "up"\nupstream_model = "m"\ncontext = 1\n'
        for name, release in names.items()
    )
    file.write_text(f'[[upstreams]]\nname = "up"\nurl = "http://up"\nkind = "vllm"\n{models}')
    found = [model.release for model in read_configuration(file).models]
    assert found == [str(tmp_path / "bakery"), URL, str(tmp_path / "bakery")]
    kinds = [FolderRelease, FetchedRelease, FolderRelease]
    assert [type(release_at(address)) for address in found] == kinds
