"""Releases that no model has any more: noted with the change that took them away, and forgotten once nothing is left of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from watchword.service.db.connect import Connected, locked
from watchword.service.db.rows import value_of
from watchword.service.db.schema import models, retired_releases
from watchword.service.types.models import ModelState, RetiredRelease

# Values in one statement.
_BATCH = 500


class RetiredQueries(Connected):
    """What the housekeeping asks."""

    def retired_releases(
        self, *, older_than: float, after: int = 0, last: int | None = None, limit: int = 20
    ) -> list[RetiredRelease]:
        """Those that were retired before, the oldest first: behind the number ``after``, and up to ``last``."""
        number = retired_releases.c.number
        statement = select(retired_releases).where(retired_releases.c.retired_at < older_than, number > after)
        if last is not None:
            statement = statement.where(number <= last)
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

    def used_weights(self, digests: Collection[str]) -> set[str]:
        """Which of them a model has that is not deleted."""
        wanted, used = sorted(digests), set[str]()
        with self._reading() as connection:
            for at in range(0, len(wanted), _BATCH):
                some = models.c.weights_digest.in_(wanted[at : at + _BATCH])
                statement = select(models.c.weights_digest).where(some, models.c.state != ModelState.DELETED)
                used.update(connection.execute(statement).scalars())
        return used

    def locations(self) -> list[str]:
        """Where the releases of all models are that are not deleted."""
        statement = select(models.c.location).where(models.c.state != ModelState.DELETED)
        with self._reading() as connection:
            return list(connection.execute(statement).scalars())


def succeed(connection: Connection, values: Mapping[str, Any], now: float) -> int | None:
    """Gives the model of this tenant and name its next version, and retires the release before. Its row.

    None where the version before is not served, or is not the one before.
    """
    before = models.c.name == values["name"], models.c.tenant == values["tenant"]
    served = models.c.state == ModelState.READY, models.c.version == values["version"] - 1
    found = connection.execute(locked(select(models).where(*before, *served))).one_or_none()
    if found is None:
        return None
    connection.execute(update(models).where(models.c.seq == found.seq).values(**values))
    retire(connection, found, now)
    return int(found.seq)


def retire(connection: Connection, model: Row[Any], now: float) -> RetiredRelease:
    """Notes the release that a row of the models has now, in the transaction that takes it away."""
    values = {"location": model.location, "weights_digest": model.weights_digest, "retired_at": now}
    key = connection.execute(insert(retired_releases).values(**values)).inserted_primary_key
    assert key is not None
    return RetiredRelease(key[0], model.location, model.weights_digest, now)
