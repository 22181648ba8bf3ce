"""Serving engines as their own commands start them, on what ``tests/peers/made_releases.py`` has made, and the gateway."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "gateway.md"
NODE = Path(__file__).parents[1] / "peers" / "node"
# A processor each: threads that wait for each other stand still on a machine that is busy with anything else.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
_IN_ITS_OWN = "# in a terminal of its own\n"


def made() -> Path:
    """The folder of the releases that are served here."""
    return Path(os.environ["WATCHWORD_PEER_RELEASES"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def steps(section: str, page: Path = PAGE) -> list[tuple[str, str]]:
    """The blocks of a section of a page, in order: the language of each, and what is in it."""
    text = page.read_text("utf-8")
    text = text[text.index(f"## {section}\n") :]
    text = text[: text.index("\n## ")]
    return [(kind, textwrap.dedent(block)) for kind, block in re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)]


class Terminals:
    """Runs blocks of shell commands in one folder. What is to run in a terminal of its own goes on until the end."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder, self._open = folder, contextlib.ExitStack()
        self.environment = {**os.environ, **environment}

    def __enter__(self) -> Terminals:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def run(self, block: str) -> str:
        """What the block prints; of one in a terminal of its own, nothing."""
        if block.startswith(_IN_ITS_OWN):
            self._open.enter_context(self._started(block.removeprefix(_IN_ITS_OWN)))
            return ""
        done = subprocess.run(
            ["bash", "-euc", block], cwd=self._folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def _started(self, block: str) -> Iterator[None]:
        with (self._folder / "terminal.log").open("ab") as log:
            running = subprocess.Popen(
                ["bash", "-euc", block],
                cwd=self._folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                yield
            finally:
                os.killpg(running.pid, signal.SIGTERM)
                try:
                    running.wait(30)
                except subprocess.TimeoutExpired:
                    os.killpg(running.pid, signal.SIGKILL)
                    running.wait()

    def wait_for(self, url: str, seconds: float = 900.0) -> None:
        """Until the address answers with 200. Fails with the end of what all terminals have printed."""
        ends = time.monotonic() + seconds
        while True:
            with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5):
                return
            printed = (self._folder / "terminal.log").read_text("utf-8", "replace")
            assert time.monotonic() < ends, f"{url} does not answer\n{printed[-4000:]}"
            time.sleep(0.5)


def javascript(folder: Path) -> Path:
    """A folder with OpenAI's JavaScript client, installed as its lock says, and the script that asks with it."""
    target = Path(shutil.copytree(NODE, folder / "node"))
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
    subprocess.run(command, cwd=target, check=True)
    return target / "ask.js"
