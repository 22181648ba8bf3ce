"""A release, once for all tests of the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.gateway_parts import Scripted, configuration, gateway, served
from support.served_release import release_folder


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release_folder(tmp_path_factory.mktemp("gateway"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many cases of the leak matrix ran, and how many leaked, whichever process ran them."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    kept = [(name, value) for report in reports for name, value in report.user_properties]
    cases, leaks = (sum(len(value) for name, value in kept if name == wanted) for wanted in ("leak cases", "leaks"))
    if cases:
        terminalreporter.write_line(f"leak matrix: {cases} cases, {leaks} leaks")


@pytest.fixture(scope="module")
def port(release: Path, upstream: Scripted) -> Iterator[int]:
    """A gateway in front of the module's own ``upstream``, for tests that change neither."""
    with served(upstream) as behind, gateway(configuration(release, behind)) as at:
        yield at
