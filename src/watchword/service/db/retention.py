"""Removing what has been kept long enough. The audit log is not among it."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Table, delete, select

from watchword.service.db.connect import Connected
from watchword.service.db.schema import (
    checkpoints,
    idempotency_keys,
    job_events,
    job_metadata,
    jobs,
    outbox,
    reports,
)
from watchword.service.settings import RetentionSettings

_DAY = 86_400.0
# In one transaction, so that nobody waits long for it.
_BATCH = 500


class RetentionQueries(Connected):
    """What ``retain`` calls, now and then."""

    def retain(self, settings: RetentionSettings) -> dict[str, int]:
        """Removes old records, a batch of each kind at a time; how many of each. Call it again while any are left."""
        now = self._now()
        old = {
            idempotency_keys: idempotency_keys.c.created_at < now - settings.idempotency_days * _DAY,
            outbox: outbox.c.done_at < now - settings.delivery_days * _DAY,
            reports: reports.c.created_at < now - settings.report_days * _DAY,
        }
        with self._writing() as connection:
            gone = {table.name: _removed(connection, table, where) for table, where in old.items()}
            gone["jobs"] = _removed_jobs(connection, now - settings.job_days * _DAY)
        return gone


def _removed(connection: Connection, table: Table, where: ColumnElement[bool]) -> int:
    keys = tuple(table.primary_key.columns)
    rows = connection.execute(select(*keys).where(where).limit(_BATCH)).all()
    for row in rows:
        same = (column == value for column, value in zip(keys, row, strict=True))
        connection.execute(delete(table).where(*same))
    return len(rows)


def _removed_jobs(connection: Connection, before: float) -> int:
    """Jobs that ended before, with what belongs to them. Their models stay, and so does the audit log."""
    statement = select(jobs.c.id).where(jobs.c.finished_at < before).limit(_BATCH)
    ids = connection.execute(statement).scalars().all()
    for table in (job_events, checkpoints, job_metadata):
        connection.execute(delete(table).where(table.c.job_id.in_(ids)))
    connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))
    return len(ids)
