"""Several processes behind one port: all answer, one that dies is replaced, and a stop reaches them all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.gateway_parts import (
    ASKED,
    DONE,
    MODEL,
    Scripted,
    begin,
    call,
    configuration,
    end,
    event,
    friendly,
    more,
    served,
    usage_event,
    wait_until,
)
from support.gateway_process import read_all, refuses, request, started
from support.served_release import release_folder
from watchword.gateway.configuration import shared_out


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The processes that answer: children of the one that was started, without multiprocessing's own helper."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            if parent == process.pid and b"spawn_main" in folder.joinpath("cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def answers(port: int) -> bool:
    try:
        return call(port, path="/health", method="GET").status == 200
    except ConnectionError:
        return False


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leaves no process behind, whatever happens inside: workers end without their parent."""
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers in /proc")
def test_workers_answer_are_replaced_and_end_together(tmp_path: Path) -> None:
    release = release_folder(tmp_path)
    free = threading.Event()

    async def slow(upstream: Scripted, body: dict[str, Any], send: Any) -> None:
        if not body.get("stream"):
            await friendly(upstream, body, send)
            return
        await begin(send)
        await more(send, event({"content": "Mix flour, "}))
        while not free.is_set():
            await asyncio.sleep(0.01)
        await more(send, event({"content": "water."}) + event({}, finish="stop") + usage_event() + DONE)
        await end(send)

    upstream = Scripted(slow)
    with served(upstream) as behind:
        process, port = started(tmp_path, release, behind, "--workers", "2")
        with ended(process):
            wait_until(lambda: answers(port), 60)
            assert {call(port, ASKED).status for _ in range(8)} == {200}
            (first, other) = workers_of(process)
            os.kill(first, signal.SIGKILL)
            wait_until(lambda: len(set(workers_of(process)) - {first, other}) == 1, 60)
            assert {call(port, ASKED).status for _ in range(8)} == {200}
            with request(port, {**ASKED, "stream": True}) as connection:
                wait_until(lambda: upstream.open == 1)
                process.send_signal(signal.SIGTERM)
                wait_until(lambda: refuses(port))
                free.set()
                body = read_all(connection)
            assert b"data: [DONE]" in body
            lines = process.communicate(timeout=60)[1].decode().splitlines()
            assert process.returncode == 128 + signal.SIGTERM
    calls = [json.loads(line) for line in lines if '"call"' in line]
    told = [one["status"] for one in calls if one.get("model") == MODEL]
    # Lines are written several at a time: those that a killed process had not yet written went with it.
    assert set(told) == {200}
    assert 9 <= len(told) <= 17
    assert not any("Traceback" in line for line in lines)


def test_workers_share_what_an_upstream_takes(release: Path) -> None:
    shared = shared_out(configuration(release, 1, max_concurrent=10, max_queue=0), 4)
    assert [(upstream.max_concurrent, upstream.max_queue) for upstream in shared.upstreams] == [(3, 0)]
    assert shared_out(configuration(release, 1, max_concurrent=1), 4).upstreams[0].max_concurrent == 1
