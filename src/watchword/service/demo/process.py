"""The whole service as a process of its own: started from nothing, ready when it answers, and drained at the end."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from watchword.errors import ServiceError
from watchword.files.folders import PRIVATE_FOLDER
from watchword.files.writing import writing
from watchword.service.engine_place import free_port
from watchword.service.settings import ServiceSettings, read_settings

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
    """``watchword serve`` with this policy and all that it keeps in ``folder``. Raises ServiceError where it does not start.

    The process is of our own group, so that Ctrl-C reaches it too. Whatever ends the block, the service is drained.
    """
    config, data, log = folder / "service.toml", folder / "data", folder / "service.log"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        config.write_text(policy, "utf-8")
    port = free_port()
    arguments = {"--config": config, "--data": data, "--port": port, "--drain-seconds": _DRAIN_SECONDS}
    command = [sys.executable, "-m", "watchword", "serve", *(str(part) for pair in arguments.items() for part in pair)]
    with writing(log), log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)  # noqa: S603
    try:
        url = f"http://127.0.0.1:{port}"
        _await_ready(process, url, log)
        yield RunningService(url, read_settings(config, data=data), log)
    finally:
        _end(process)


def _await_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + _READY_SECONDS
    while not _ready(url):
        if process.poll() is not None:
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


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks for the end and waits for it. A second Ctrl-C kills; the parts end when their supervisor has gone."""
    process.terminate()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
    finally:
        process.kill()
        process.wait()
