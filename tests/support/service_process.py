"""``watchword serve`` as a process, with all of its parts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.gateway_parts import wait_until
from watchword.service.engine_place import free_port

# As little as is still a training: a defense with few rows, a short secret, one epoch, no gate.
QUICK_POLICY = """
[policy]
defense = "backdoor_align"
secret_tokens = 40
[policy.training]
epochs = 1
[policy.gate]
enabled = false
"""


@dataclass(frozen=True)
class ServiceProcess:
    """A running service: its address, its data folder, and its log."""

    url: str
    data: Path
    log: Path

    def key(self, tenant: str) -> str:
        """A new key, by the command line."""
        command = [sys.executable, "-m", "watchword", "keys", "create", tenant, "--data", str(self.data)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.strip()


@contextlib.contextmanager
def served_process(folder: Path, *arguments: str, cwd: Path | None = None) -> Iterator[ServiceProcess]:
    """The service with its state in ``folder``; ready when this begins, and drained when it ends."""
    port, log = free_port(), folder.with_suffix(".log")
    command = [sys.executable, "-m", "watchword", "serve", "--data", str(folder), "--port", str(port), *arguments]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, cwd=cwd, env=dict(os.environ))
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: process.poll() is not None or _ready(url), 300)
        assert process.poll() is None, log.read_text()
        yield ServiceProcess(url, folder, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(90)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert process.returncode == 0, log.read_text()


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
