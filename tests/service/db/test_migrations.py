"""The schema: the scripts make exactly the tables of the code, and bring every released database to them."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from support.service import AUDIT_KEY, KINDS, Clock, Databases, a_job, caller, opened, success
from watchword.errors import DatabaseError, UsageError
from watchword.service.db import Database
from watchword.service.db.migrate import head_revision
from watchword.service.db.schema import metadata
from watchword.service.jobs.machine import JobAction
from watchword.service.types.jobs import JobState

# One file for each released schema, made by ``python -m support.service_dump`` when it was the newest.
RELEASED = sorted((Path(__file__).parent / "schemas").glob("*.sql"))


def rights(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


def test_nobody_else_may_read_the_database(tmp_path: Path) -> None:
    url, names = f"sqlite:///{tmp_path / 'service.db'}", ("service.db", "service.db-wal", "service.db-shm")
    with opened(url) as database:
        assert rights(tmp_path) == dict.fromkeys(names, 0o600)
        database.backup(tmp_path / "backup.db")
        assert rights(tmp_path)["backup.db"] == 0o600
        # As earlier versions have left them.
        for name in names:
            (tmp_path / name).chmod(0o644)
        with opened(url) as again:
            again.migrate()
            assert rights(tmp_path) == dict.fromkeys((*names, "backup.db"), 0o600)


@pytest.mark.parametrize("kind", KINDS)
def test_the_scripts_make_the_tables_of_the_code(kind: str, databases: Databases) -> None:
    with opened(databases.empty_url(kind)) as database, database._reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_every_schema_has_a_dump() -> None:
    assert RELEASED[-1].stem == head_revision()


@pytest.mark.parametrize("dump", RELEASED, ids=lambda path: path.stem)
def test_a_database_of_every_released_schema_comes_up_with_all_that_is_in_it(dump: Path, tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(dump.read_text("utf-8"))
    with opened(f"sqlite:///{path}") as database:
        assert database.revision() == head_revision()
        database.check_key()
        assert database.audit_verify().number > 0
        found = {job.state: job for job in database.jobs("acme").items}
        assert {JobState.SUCCEEDED, JobState.PAUSED, JobState.VALIDATING_FILES} <= set(found)
        assert database.model("acme", str(found[JobState.SUCCEEDED].fine_tuned_model)).tenant == "acme"
        # And it works on.
        claim = database.claim("w", 60.0)
        assert claim is not None
        database.advance(claim, JobAction.VALIDATED)
        database.advance(claim, JobAction.STARTED)
        database.finish(claim, success(claim.job))
        assert database.ask(caller(), found[JobState.PAUSED].id, JobAction.RESUME).state is JobState.QUEUED
        database.audit_verify()


def test_a_database_of_a_later_version_is_left_alone(databases: Databases) -> None:
    url = databases.url("sqlite")
    with opened(url) as database:
        with database._writing() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(DatabaseError, match="take the version that wrote it"):
            database.migrate()
        with pytest.raises(DatabaseError, match="has the schema 9999"):
            database.check_schema()


@pytest.mark.parametrize("kind", KINDS)
def test_processes_that_start_together_make_the_tables_once(kind: str, databases: Databases) -> None:
    url, failed = databases.empty_url(kind), []
    start = threading.Barrier(3)

    def begin() -> None:
        with contextlib.closing(Database(url, audit_key=AUDIT_KEY)) as database:
            start.wait()
            try:
                database.migrate()
                database.check_schema()
            except (DatabaseError, AssertionError) as error:
                failed.append(error)

    threads = [threading.Thread(target=begin) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with opened(url) as database:
        a_job(database)


def test_processes_that_open_a_new_file_together_wait_for_each_other(tmp_path: Path) -> None:
    """SQLite's own wait does not cover the switch to its write-ahead log."""
    failed: list[DatabaseError] = []

    def begin(url: str, start: threading.Barrier) -> None:
        with contextlib.closing(Database(url)) as database:
            start.wait()
            try:
                database.revision()
            except DatabaseError as error:
                failed.append(error)

    for number in range(20):
        start = threading.Barrier(6)
        given = (f"sqlite:///{tmp_path / f'{number}.db'}", start)
        threads = [threading.Thread(target=begin, args=given) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []


def test_commits_reach_the_disk_before_anybody_is_answered(tmp_path: Path, clock: Clock) -> None:
    with contextlib.closing(Database(f"sqlite:///{tmp_path / 'd.db'}", now=clock)) as database:
        database.migrate()
        with database._reading() as connection:
            assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2
            assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
            assert connection.execute(text("PRAGMA foreign_keys")).scalar_one() == 1


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("nonsense", "this is no database URL"),
        ("sqlite://", "must be a file"),
        ("sqlite:///:memory:", "must be a file"),
        ("oracledb://x", "is no database of the service"),
    ],
)
def test_a_url_that_is_none_is_named(url: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        Database(url)


def test_a_database_that_does_not_answer_is_a_clean_error() -> None:
    with (
        contextlib.closing(Database("postgresql://nobody@127.0.0.1:1/none?connect_timeout=2")) as database,
        pytest.raises(DatabaseError, match="the database does not answer"),
    ):
        database.jobs("acme")


def test_a_file_that_is_no_database_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "service.db"
    path.write_bytes(b"no database at all " * 500)
    with (
        contextlib.closing(Database(f"sqlite:///{path}", audit_key=AUDIT_KEY)) as database,
        pytest.raises(DatabaseError, match=r"is damaged: .*; restore it from its backup"),
    ):
        database.migrate()


def test_a_damaged_page_is_told_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'service.db'}"
    with opened(url) as database:
        a_job(database)
    path = tmp_path / "service.db"
    data = bytearray(path.read_bytes())
    # All pages but the first, which says what the others are.
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with (
        contextlib.closing(Database(url, audit_key=AUDIT_KEY)) as database,
        pytest.raises(DatabaseError, match="the database is damaged"),
    ):
        database.jobs("acme")


def test_a_pool_without_a_free_connection_is_a_database_that_is_busy(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path / 'service.db'}") as database:
        pool = database._engine.pool
        pool._timeout = 0.01  # type: ignore[attr-defined]
        held = [pool.connect() for _ in range(30)]
        with pytest.raises(DatabaseError, match="the database is busy"):
            database.jobs("acme")
        for connection in held:
            connection.close()


@pytest.mark.parametrize("number", [2**63, 10**30])
def test_a_number_that_no_database_takes_is_refused(tmp_path: Path, number: int) -> None:
    with (
        opened(f"sqlite:///{tmp_path / 'service.db'}") as database,
        pytest.raises(UsageError, match="larger than a database takes"),
    ):
        database.audit_entries(after=number)


def test_only_its_owner_reads_the_database(tmp_path: Path) -> None:
    """Also in a folder that others may look into: it holds names of files, events and digests of keys."""
    tmp_path.chmod(0o755)
    with opened(f"sqlite:///{tmp_path / 'service.db'}") as database:
        a_job(database)
        found = list(tmp_path.iterdir())
        assert len(found) > 1
        assert {path.stat().st_mode & 0o777 for path in found} == {0o600}


def test_another_kind_of_database_is_told_the_choices() -> None:
    with pytest.raises(UsageError, match=r"mysql is no database of the service; give sqlite:///PATH or postgresql://"):
        Database("mysql://u@h/n", audit_key=AUDIT_KEY)
