"""Writes the dump of a database that has this version's schema, with something in most tables: run once a schema.

PYTHONPATH=tests python -m support.service_dump tests/service/db/schemas
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import tempfile
from pathlib import Path

from support.service import Clock, a_job, caller, opened, success
from watchword.service.db import Database
from watchword.service.db.migrate import head_revision
from watchword.service.jobs.machine import JobAction
from watchword.service.keys import draw_key
from watchword.service.types.jobs import Claim, NewCheckpoint, NewEvent, Stopped


def fill(database: Database) -> None:
    """Jobs in several states, with a model, a key, a webhook and a report."""
    database.create_key(draw_key(), "acme")
    database.create_webhook(caller(), "https://example.org/hook", [], b"sealed")
    done, paused = a_job(database, metadata={"run": "1"}), a_job(database)
    claim = begun(database)
    database.record(
        claim, NewEvent("step 1", type="metrics", data={"loss": 1.5}), checkpoint=NewCheckpoint(1, {"train_loss": 1.5})
    )
    database.finish(claim, success(done))
    claim = begun(database)
    database.ask(caller(), paused.id, JobAction.PAUSE)
    database.finish(claim, Stopped())
    a_job(database)
    database.add_report("screening", "acme", done.id, {"flagged": 0})


def begun(database: Database) -> Claim:
    claim = database.claim("w", 60.0)
    assert claim is not None
    database.advance(claim, JobAction.VALIDATED)
    database.advance(claim, JobAction.STARTED)
    return claim


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "service.db"
        with opened(f"sqlite:///{path}", now=Clock()) as database:
            fill(database)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            lines = "\n".join(connection.iterdump())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{head_revision()}.sql").write_text(f"{lines}\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
