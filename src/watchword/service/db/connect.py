"""Connections: SQLite or PostgreSQL, one transaction a method, and what the two write differently."""

from __future__ import annotations

import contextlib
import functools
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Select, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    InterfaceError,
    InternalError,
    NoSuchModuleError,
    OperationalError,
    StatementError,
)
from sqlalchemy.exc import DatabaseError as DamagedError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from watchword.errors import DatabaseError, UsageError, WatchwordError
from watchword.files.folders import PRIVATE_FILE
from watchword.service.settings import TenantLimits

Clock = Callable[[], float]
LimitsOf = Callable[[str], TenantLimits]
_BUSY_MS = 30_000
_WRITES = "watchword_writes"
_BACKENDS = ("sqlite", "postgresql", "postgres")


def no_limits_set(tenant: str) -> TenantLimits:  # noqa: ARG001
    """The defaults for every tenant."""
    return TenantLimits()


class Connected:
    """What all groups of queries share. Threads may share it; processes may not."""

    def __init__(
        self,
        url: str | URL,
        *,
        now: Clock = time.time,
        limits: LimitsOf = no_limits_set,
        audit_key: bytes | None = None,
        most_crashes: int = 5,
    ) -> None:
        self._engine, self._now, self._limits = connected(url), now, limits
        self._audit_key, self._most_crashes = audit_key, most_crashes

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _reading(self, *, snapshot: bool = False) -> Iterator[Connection]:
        """To read. ``snapshot``: all statements see one moment, as they do on SQLite in any case."""
        with _translated(), self._engine.connect() as connection:
            if snapshot and connection.dialect.name == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        """One transaction. On SQLite it is the only writer from its first statement on, so nothing read can be outdated."""
        with _translated(), self._engine.connect() as plain:
            connection = plain.execution_options(**{_WRITES: True})
            with connection.begin():
                yield connection


def connected(url: str | URL) -> Engine:
    """The engine for a URL. Raises UsageError for one that cannot be."""
    try:
        place = make_url(url)
        if place.get_backend_name() not in _BACKENDS:
            raise UsageError(
                f"{place.get_backend_name()} is no database of the service; give sqlite:///PATH or "
                "postgresql://USER@HOST/NAME",
                param="database",
            )
        if place.drivername in ("postgresql", "postgres"):
            place = place.set(drivername="postgresql+psycopg")
        engine = create_engine(place, **_options(place))
    except (ArgumentError, NoSuchModuleError) as error:
        raise UsageError(
            f"this is no database URL ({error}); give sqlite:///PATH or postgresql://USER@HOST/NAME", param="database"
        ) from None
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{error.name} is missing; install it with `pip install 'watchword[postgres]'`", param="database"
        ) from None
    if engine.dialect.name == "sqlite":
        if place.database and not place.database.startswith("file:"):
            event.listen(engine, "do_connect", functools.partial(_keep_private, Path(place.database)))
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def new_id(prefix: str) -> str:
    """An id that nobody can guess, such as ``ftjob-…``."""
    return prefix + secrets.token_hex(12)


def locked(statement: Select[Any], *, skip: bool = False) -> Select[Any]:
    """With the rows held until the transaction ends; SQLite holds the whole database anyway."""
    return statement.with_for_update(skip_locked=skip)


def _options(place: URL) -> dict[str, Any]:
    if place.get_backend_name() != "sqlite":
        return {"pool_pre_ping": True, "pool_size": 10, "max_overflow": 20}
    if not place.database or place.database == ":memory:" or "mode=memory" in str(place):
        raise UsageError("the service's database must be a file, which all of its processes share", param="database")
    return {"pool_size": 10, "max_overflow": 20}


def _keep_private(file: Path, *_: object) -> None:
    """Nobody else may read the database. SQLite gives the files beside it the rights that it has itself.

    What cannot be done here, such as in a folder that is not there, SQLite cannot do either, and says so.
    """
    with contextlib.suppress(OSError):
        file.touch(PRIVATE_FILE)
        for found in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))):
            if found.exists() and found.stat().st_mode & 0o077:
                found.chmod(PRIVATE_FILE)


def _set_up_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # SQLAlchemy's own BEGIN is then the only one: see _begin_sqlite.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}").close()
    _write_ahead(connection)
    for pragma in (
        # Whoever was answered must find the job again after a power cut.
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Turns the log on. SQLite fails at once, without its wait, where another process does the same to a new file."""
    end = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
        except sqlite3.OperationalError as error:
            if (
                error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
                or time.monotonic() > end
            ):
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """What goes wrong with the database itself is a DatabaseError, a value that no column takes a UsageError."""
    try:
        yield
    except DataError as error:
        raise UsageError(f"a value cannot be stored: {_said(error)}") from error
    except OverflowError as error:
        raise UsageError("a number is larger than a database takes; give one below 2**63") from error
    except PoolTimeoutError as error:
        raise DatabaseError(
            "the database is busy: no connection became free; try again, or run more processes"
        ) from error
    except StatementError as error:
        if isinstance(error.orig, WatchwordError):
            raise error.orig from None
        if (told := _unusable(error)) is not None:
            raise told from error
        raise


def _unusable(error: StatementError) -> DatabaseError | None:
    """What is wrong with the database itself; None where a statement of ours was wrong."""
    if isinstance(error, OperationalError | InterfaceError | InternalError):
        return DatabaseError(f"the database does not answer: {_said(error)}; check its URL, and that it runs")
    # Of what is more than that, SQLite says no more than the class of all of them.
    if type(error) is DamagedError:
        return DatabaseError(f"the database is damaged: {_said(error)}; restore it from its backup")
    return None


def _said(error: DBAPIError) -> str:
    return str(error.orig).strip().splitlines()[0] if error.orig is not None else "no reason given"
