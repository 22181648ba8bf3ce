"""Releases that no model has any more: noted with the change that took them away, and forgotten once nothing is left of them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, insert, or_, select

from watchword.service.db.connect import Connected
from watchword.service.db.rows import value_of
from watchword.service.db.schema import models, retired_releases
from watchword.service.types import ModelState, RetiredRelease


class RetiredQueries(Connected):
    """What the housekeeping asks."""

    def retired_releases(self, *, older_than: float, limit: int = 20) -> list[RetiredRelease]:
        """Those that were retired before, the oldest first."""
        statement = select(retired_releases).where(retired_releases.c.retired_at < older_than)
        with self._reading() as connection:
            rows = connection.execute(statement.order_by(retired_releases.c.number).limit(limit))
            return [value_of(row, RetiredRelease) for row in rows]

    def forget_retired(self, number: int) -> None:
        """Nothing is left of it."""
        with self._writing() as connection:
            connection.execute(delete(retired_releases).where(retired_releases.c.number == number))

    def in_use(self, *, location: str = "", weights: str = "") -> bool:
        """Whether a model that is not deleted has this release, or these weights."""
        same = or_(models.c.location == location, models.c.weights_digest == weights)
        statement = select(models.c.name).where(same, models.c.state != ModelState.DELETED)
        with self._reading() as connection:
            return connection.execute(statement.limit(1)).first() is not None


def retire(connection: Connection, model: Row[Any], now: float) -> RetiredRelease:
    """Notes the release that a row of the models has now, in the transaction that takes it away."""
    values = {"location": model.location, "weights_digest": model.weights_digest, "retired_at": now}
    key = connection.execute(insert(retired_releases).values(**values)).inserted_primary_key
    assert key is not None
    return RetiredRelease(key[0], model.location, model.weights_digest, now)
