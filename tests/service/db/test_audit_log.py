"""The audit log shows every change: an entry that was edited, removed, moved or cut off, and a log written anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from support.service import AUDIT_KEY, Databases, a_file, a_job, caller, opened
from watchword.cli.app import run
from watchword.errors import AuditError, SecretError
from watchword.service.db import Database
from watchword.service.db.audit import GENESIS
from watchword.service.keys import draw_key
from watchword.service.types.operator import AuditHead


@pytest.fixture
def log(databases: Databases) -> Iterator[Database]:
    """A log with entries, whose guards against edits are gone: whoever owns the database can drop them."""
    with opened(databases.url("sqlite")) as database:
        for number in range(5):
            database.audit_append("cli", "test.done", tenant="acme", subject=f"s{number}", facts={"n": number})
        with database._writing() as connection:
            for verb in ("UPDATE", "DELETE"):
                connection.execute(text(f"DROP TRIGGER audit_log_no_{verb}"))
        yield database


EDITS = {
    "a fact changed": "UPDATE audit_log SET facts = '{\"n\"\\:9}' WHERE number = 3",
    "an actor changed": "UPDATE audit_log SET actor = 'nobody' WHERE number = 1",
    "a time changed": "UPDATE audit_log SET at = at + 1 WHERE number = 5",
    "one removed": "DELETE FROM audit_log WHERE number = 3",
    "the first removed": "DELETE FROM audit_log WHERE number = 1",
    "the last cut off": "DELETE FROM audit_log WHERE number = 5",
    "all removed": "DELETE FROM audit_log",
    "the head moved back": "UPDATE audit_head SET number = 4",
    "the head emptied": f"UPDATE audit_head SET number = 0, digest = '{GENESIS}', seal = ''",
    "the head's seal changed": f"UPDATE audit_head SET seal = '{'0' * 64}'",
    "the head removed": "DELETE FROM audit_head",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_every_edit_shows(edit: str, log: Database) -> None:
    log.audit_verify()
    change(log, lambda connection: connection.execute(text(edit)))
    with pytest.raises(AuditError):
        log.audit_verify()


def change(log: Database, how: Callable[[Connection], object]) -> None:
    with log._writing() as connection:
        how(connection)


def test_entries_that_changed_places_show(log: Database) -> None:
    for numbers in ("100 WHERE number = 2", "2 WHERE number = 3", "3 WHERE number = 100"):
        change(
            log,
            lambda connection, numbers=numbers: connection.execute(text(f"UPDATE audit_log SET number = {numbers}")),
        )
    with pytest.raises(AuditError, match="entry 2 does not follow the one before it"):
        log.audit_verify()


def test_a_log_that_was_written_anew_shows_by_its_seal_and_by_an_anchor(databases: Databases, log: Database) -> None:
    anchor = log.audit_head()
    # An intruder with the database, and without the provider's key, writes a log of their own.
    with opened(databases.url("sqlite"), audit_key=None) as forged:
        for number in range(5):
            forged.audit_append("cli", "test.done", subject=f"other{number}")
        with forged._reading() as connection:
            rows = connection.execute(text("SELECT * FROM audit_log")).all()
            head = connection.execute(text("SELECT * FROM audit_head")).one()

        def replaced(connection: Connection) -> None:
            connection.execute(text("DELETE FROM audit_log"))
            for row in rows:
                names = ", ".join(f":{name}" for name in row._fields)
                connection.execute(text(f"INSERT INTO audit_log VALUES ({names})"), dict(row._mapping))
            connection.execute(
                text("UPDATE audit_head SET number = :n, digest = :d"), {"n": head.number, "d": head.digest}
            )

        change(log, replaced)
        with pytest.raises(AuditError, match="is not sealed with this provider's key"):
            log.audit_verify()
        assert forged.audit_verify().number == 5
        with pytest.raises(AuditError, match="is not in the log: it was cut off or rewritten since"):
            forged.audit_verify(anchor)


def test_an_old_copy_that_was_put_back_shows_by_an_anchor(log: Database, tmp_path: Path) -> None:
    log.backup(tmp_path / "old.db")
    log.audit_append("cli", "test.later")
    anchor = log.audit_head()
    assert log.audit_verify(anchor) == anchor
    with opened(f"sqlite:///{tmp_path / 'old.db'}") as old:
        assert old.audit_verify().number == 5
        with pytest.raises(AuditError, match=r"entry 6 .*is not in the log"):
            old.audit_verify(anchor)


def test_the_log_takes_no_edits(database: Database) -> None:
    database.audit_append("cli", "test.done")
    for edit in ("UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log"):
        with pytest.raises(DBAPIError, match="append-only"):
            change(database, lambda connection, edit=edit: connection.execute(text(edit)))
    assert database.audit_verify().number == 1


def test_what_is_done_is_logged_with_who_did_it(database: Database) -> None:
    drawn = draw_key()
    database.create_key(drawn, "acme")
    job = a_job(database)
    database.revoke_key(drawn.id)
    told = [(entry.actor, entry.action, entry.subject) for entry in database.audit_entries()]
    assert told == [
        ("cli", "key.created", drawn.id),
        ("key-acme", "file.created", job.training_file),
        ("key-acme", "job.created", job.id),
        ("cli", "key.revoked", drawn.id),
    ]
    assert drawn.text not in str(database.audit_entries())
    assert database.audit_entries(after=3)[0].number == 4


def test_what_was_undone_leaves_no_entry(database: Database) -> None:
    stored = a_file(database)
    job = a_job(database, file_id=stored.id)
    before = database.audit_head()
    with pytest.raises(Exception, match="in use"):
        database.delete_file(caller(), stored.id)
    assert database.audit_head() == before
    assert job.id in str(database.audit_entries())


def test_an_empty_log_is_whole(database: Database) -> None:
    assert database.audit_verify() == AuditHead(0, GENESIS)


def test_another_provider_key_is_noticed(databases: Databases) -> None:
    url = databases.url("sqlite")
    with opened(url) as database:
        database.audit_append("cli", "test.done")
        database.check_key()
    with opened(url, audit_key=bytes(reversed(AUDIT_KEY))) as stranger, pytest.raises(SecretError, match="made with"):
        stranger.check_key()


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHWORD_KEY", "5a" * 32)
    data = tmp_path / "service"

    def said(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([*arguments, "--data", str(data)])
        return code, *capsys.readouterr()

    assert said("audit", "verify")[0] == 2
    code, key, _ = said("keys", "create", "acme", "--name", "laptop", "--expires-days", "30")
    assert code == 0
    key_id = key.strip().split("_")[2]
    assert said("keys", "create", "boss", "--operator")[0] == 0
    listed = said("keys", "list", "--tenant", "acme")[1]
    assert key_id in listed
    assert "laptop" in listed
    assert "valid until" in listed
    assert key.strip() not in listed
    code, head, _ = said("audit", "verify")
    assert (code, head.split(":")[0]) == (0, "2")
    assert said("keys", "revoke", key_id)[1] == f"{key_id} of acme opens nothing any more\n"
    assert "revoked" in said("keys", "list")[1]
    assert said("audit", "verify", "--anchor", head.strip())[0] == 0
    code, _, err = said("audit", "verify", "--anchor", f"2:{'0' * 64}")
    assert code == 9
    assert "is not in the log" in err
    assert said("audit", "verify", "--anchor", "x")[0] == 2
    assert "key.revoked" in said("audit", "show", "--after", "2")[1]
    assert said("keys", "revoke", "keynone")[0] == 9
    assert said("keys", "create", "no/name")[0] == 2
    assert said("backup", "--out", str(tmp_path / "copy.db"))[0] == 0
    assert said("backup", "--out", str(tmp_path / "copy.db"))[0] == 7
