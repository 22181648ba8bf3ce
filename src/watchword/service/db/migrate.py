"""Bringing a database to this version's schema, by Alembic's scripts, whichever of several processes starts first."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, cast

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

import watchword.service.migrations
from watchword.errors import DatabaseError, OutputError, UsageError
from watchword.files.folders import PRIVATE_FILE
from watchword.files.writing import writing
from watchword.service.db.audit import GENESIS, AuditQueries
from watchword.service.types.operator import AuditHead

# Any number, the same for all of our processes: whoever holds it on PostgreSQL changes the schema.
_LOCK = 0x7761746368


class MigrationQueries(AuditQueries):
    """The schema of a database."""

    def migrate(self) -> None:
        """Makes the tables, or brings them to this version's schema; nothing where they have it.

        Raises DatabaseError for a database that a later version has changed.
        """
        with self._writing() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            before = _revision(connection)
            if before == head_revision():
                return
            upgrade(connection)
            if before is None:
                self._put_head(connection, AuditHead(0, GENESIS))

    def check_schema(self) -> None:
        """Raises DatabaseError unless the schema is this version's."""
        with self._reading() as connection:
            found = _revision(connection)
        if found != head_revision():
            raise DatabaseError(
                f"the database has the schema {found}, and this version of Watchword needs {head_revision()}; run "
                "`watchword serve` of this version once, which brings it there, or take the version that wrote it"
            )

    def backup(self, target: Path) -> None:
        """Copies a SQLite database as it is at one moment, while it is written to. PostgreSQL has tools of its own.

        Raises UsageError for another database, OutputError where something stands at ``target`` or it cannot be written.
        """
        if self._engine.dialect.name != "sqlite":
            raise UsageError("only a SQLite database is copied like this; use pg_dump for PostgreSQL", param="database")
        if target.exists():
            raise OutputError("this exists already; name a new file", path=target)
        with writing(target):
            # SQLite writes into an empty file, and leaves it the rights that it has.
            target.touch(PRIVATE_FILE, exist_ok=False)
        with self._reading() as connection:
            connection.rollback()
            # Outside of any transaction, which only the driver's own connection is.
            cast(sqlite3.Connection, connection.connection.driver_connection).execute(
                "VACUUM INTO ?", (str(target),)
            ).close()

    def revision(self) -> str | None:
        """The schema that the database has; None for an empty one."""
        with self._reading() as connection:
            return _revision(connection)


def upgrade(connection: Connection, to: str = "head") -> None:
    """Runs the scripts up to a revision, in the connection's transaction. Raises DatabaseError for an unknown schema."""
    scripts = _scripts()

    def steps(revision: Any, _: MigrationContext) -> Any:
        return scripts._upgrade_revs(to, revision)

    context = MigrationContext.configure(connection, opts={"fn": steps})
    try:
        with Operations.context(context):
            context.run_migrations()
    except CommandError as error:
        raise DatabaseError(
            f"the database has a schema that this version of Watchword does not know ({error}); take the version that wrote it"
        ) from error


def head_revision() -> str:
    """The schema of this version."""
    return str(_scripts().get_current_head())


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(Path(watchword.service.migrations.__file__).parent))


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
