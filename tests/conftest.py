"""What all tests share: no network outside integration tests, no deadline for Hypothesis, and peers in their own place."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import Phase, settings

# Read when huggingface_hub is imported, so it must stand before any test module is.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Processes side by side share the cores; torch would take all of them in each.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))

settings.register_profile("watchword", deadline=None)
# For mutation testing: a failure is enough there, and nobody reads its smallest example.
settings.register_profile(
    "mutation", deadline=None, max_examples=30, phases=(Phase.explicit, Phase.generate), database=None
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "watchword"))

# The trainers whose tests are to run, and then only those; set by tests/peers/run_peers.py.
PEERS = set(os.environ.get("WATCHWORD_PEERS", "").split())
# Installed with Watchword, so that its tests run with all others as well.
OURS = {"trl"}
# Its trainings take so long that one process would run them alone at the end if they did not come first.
LONGEST = "test_end_to_end.py"

_CONNECT, _LOOK_UP = socket.socket.connect, socket.getaddrinfo


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves the tests of peers to the environments that have them; there, leaves out all others. The longest file is first."""
    left_out = [item for item in items if not _belongs_here(item)]
    items[:] = sorted(filter(_belongs_here, items), key=lambda item: item.path.name != LONGEST)
    config.hook.pytest_deselected(items=left_out)


def _belongs_here(item: pytest.Item) -> bool:
    peers = {name for mark in item.iter_markers("peers") for name in mark.args}
    return bool(peers & PEERS) if PEERS else peers <= OURS


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    return _unskipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    return _unskipped((yield))


def _unskipped(report: Any) -> Any:
    """The report; where peers' tests run, to skip is to fail, for something was not set up. Node is nobody's to set up."""
    if PEERS and report.skipped and "no node on this machine" not in str(report.longrepr):
        report.outcome, report.longrepr = "failed", f"{report.longrepr[2]}; nothing may be skipped for WATCHWORD_PEERS"
    return report


class NetworkBlockedError(RuntimeError):
    """A unit test tried to reach another machine. No OSError, so that no code under test takes it for a bad line."""


@pytest.fixture(autouse=True)
def _offline(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.node.get_closest_marker("integration") is None:
        monkeypatch.setattr(socket.socket, "connect", _connect)
        monkeypatch.setattr(socket, "getaddrinfo", _look_up)
        # The socket guard ends at this process; pip runs in another.
        monkeypatch.setenv("PIP_NO_INDEX", "1")
    yield


def _connect(self: socket.socket, address: Any) -> None:
    if self.family != socket.AF_UNIX:
        _refuse_far(address[0])
    _CONNECT(self, address)


def _look_up(host: Any, *rest: Any, **options: Any) -> Any:
    _refuse_far(host)
    return _LOOK_UP(host, *rest, **options)


def _refuse_far(host: Any) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name not in (None, "", "localhost", "0.0.0.0", "::", "::1") and not str(name).startswith("127."):
        raise NetworkBlockedError(f"a unit test tried to reach {name}; mark it 'integration' or give it a fake")


@pytest.fixture(autouse=True)
def _one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """One thread for toy models: on a busy machine, threads that wait for each other cost more than they save."""
    torch = sys.modules.get("torch")
    if torch is None or request.node.get_closest_marker("integration"):
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
