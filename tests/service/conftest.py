"""Databases for the service's tests, on both kinds of server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.service import KINDS, PLENTY, Clock, Databases, opened
from support.store_outages import Outage
from support.stores import STORES
from watchword.service.db import Database


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    made = Databases(tmp_path_factory.mktemp("databases"))
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, databases: Databases) -> str:
    """A new database, on each kind of server in turn."""
    return databases.url(request.param)


@pytest.fixture
def database(database_url: str, clock: Clock) -> Iterator[Database]:
    with opened(database_url, now=clock, limits=lambda _: PLENTY) as made:
        yield made


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an object store, of each kind in turn."""
    with STORES[request.param]() as url:
        yield url


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outage]:
    """Stores in memory that go away where the test says so, and are back when it ends."""
    found = Outage().installed(monkeypatch)
    yield found
    found.away = set()
