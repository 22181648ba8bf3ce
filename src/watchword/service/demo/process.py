"""The whole service as a process of its own: started from nothing, ready when it answers, and drained at the end."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from watchword.errors import ServiceError
from watchword.files.folders import PRIVATE_FOLDER
from watchword.files.writing import writing
from watchword.service.engine_place import free_port
from watchword.service.settings import ServiceSettings
from watchword.service.settings_file import read_settings
from watchword.service.starting import prepared, supervised
from watchword.service.supervisor import end_with_parent

# The first start of all fetches the model, and brings it to the form in which it is loaded.
_READY_SECONDS = 600
# What is still open when the questions have been answered is nothing.
_DRAIN_SECONDS, _END_SECONDS = 5, 60
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class RunningService:
    """A service that answers at ``url``, with its settings, and the file in which it writes its log."""

    url: str
    settings: ServiceSettings
    log: Path


@contextlib.contextmanager
def running_service(folder: Path, policy: str) -> Iterator[RunningService]:
    """What ``watchword serve`` runs, with this policy and all that it keeps in ``folder``. Raises ServiceError.

    Ctrl-C reaches the process too. Whatever ends the block, or this process, the service ends as well.
    """
    config, log = folder / "service.toml", folder / "service.log"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        config.write_text(policy, "utf-8")
        log.touch()
    settings = prepared(read_settings(config, data=folder / "data"), port=free_port()).settings
    # Not a daemon: it starts a process for each part.
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(settings, log), name="watchword-service"
    )
    process.start()
    try:
        url = f"http://{settings.service.host}:{settings.service.port}"
        _await_ready(process, url, log)
        yield RunningService(url, settings, log)
    finally:
        _end(process)


def _serve(settings: ServiceSettings, log: Path) -> None:
    """In the process: everything that it and its children print goes to the log."""
    with log.open("ab") as stream:
        for number in (1, 2):
            os.dup2(stream.fileno(), number)
    end_with_parent("service")
    supervised(settings, drain_seconds=_DRAIN_SECONDS)


def _await_ready(process: BaseProcess, url: str, log: Path) -> None:
    until = time.monotonic() + _READY_SECONDS
    while not _ready(url):
        if not process.is_alive():
            raise ServiceError("the service has ended at its start; this file, its log, says why", path=log)
        if time.monotonic() > until:
            raise ServiceError(f"the service is not ready after {_READY_SECONDS} s; see this file, its log", path=log)
        time.sleep(_LOOK_SECONDS)


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:  # noqa: S310 -- our own process
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _end(process: BaseProcess) -> None:
    """Asks for the end and waits for it. A second Ctrl-C kills; the parts end when their supervisor has gone."""
    process.terminate()
    try:
        process.join(_END_SECONDS)
    finally:
        process.kill()
        process.join()
