"""A service for each test, with a worker that trains nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.gateway_parts import LogLines
from support.served_release import KEY
from support.service_parts import ServiceUnderTest, running_service


@pytest.fixture
def provider_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHWORD_KEY", KEY.hex())


@pytest.fixture
def service(tmp_path: Path, provider_key: None) -> Iterator[ServiceUnderTest]:
    with running_service(tmp_path) as found:
        yield found


@pytest.fixture
def idle(tmp_path: Path, provider_key: None) -> Iterator[ServiceUnderTest]:
    """A service without a worker: jobs stay where they are."""
    with running_service(tmp_path, worker=False) as found:
        yield found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceUnderTest]:
    """A service without a worker, for tests that leave nothing behind which another could see."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WATCHWORD_KEY", KEY.hex())
        with running_service(tmp_path_factory.mktemp("shared"), worker=False) as found:
            yield found


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What the service logs."""
    found, logger = LogLines(), logging.getLogger("watchword.service")
    logger.addHandler(found)
    before = logger.level
    logger.setLevel(logging.DEBUG)
    yield found.lines
    logger.removeHandler(found)
    logger.setLevel(before)
