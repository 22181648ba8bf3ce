"""A tenant's one row: what it has, what it may have, and when it is its turn. Whoever changes any of it holds the row."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import Connection, Row, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from watchword.errors import QuotaError
from watchword.service.db.connect import Connected, locked
from watchword.service.db.schema import rates, tenants
from watchword.service.jobs.fairness import turn_on_return
from watchword.service.types.tenants import Principal, TenantUse

_MINUTE = 60.0


class TenantQueries(Connected):
    """Quotas, rates and the counts behind them."""

    def use(self, tenant: str) -> TenantUse:
        """What the tenant has now."""
        with self._reading() as connection:
            row = connection.execute(select(tenants).where(tenants.c.id == tenant)).one_or_none()
        return TenantUse(tenant, 0, 0, 0, 0) if row is None else _use(row)

    def uses(self) -> list[TenantUse]:
        """Of all tenants, for the operator."""
        with self._reading() as connection:
            return [_use(row) for row in connection.execute(select(tenants).order_by(tenants.c.id))]

    def apply_limits(self) -> None:
        """Lets limits that were changed in the settings hold for jobs that wait already."""
        with self._reading() as connection:
            found = connection.execute(select(tenants.c.id, tenants.c.most_active, tenants.c.weight)).all()
        for row in found:
            limits = self._limits(row.id)
            if (row.most_active, row.weight) != (limits.jobs_at_once, limits.weight):
                with self._writing() as connection:
                    self._count(connection, self._held_tenant(connection, row.id))

    def spend(self, principal: Principal, calls: float = 1.0) -> None:
        """Counts calls of a key. Raises QuotaError with ``retry_after`` once it has made too many in a minute."""
        most = self._limits(principal.tenant).requests_per_minute
        with self._writing() as connection:
            now = self._now()
            _insert_ignored(connection, rates, {"key_id": principal.key_id, "calls": 0.0, "at": now})
            row = connection.execute(locked(select(rates).where(rates.c.key_id == principal.key_id))).one()
            # A clock that went back refills nothing, and goes on from there.
            open_calls = max(0.0, row.calls - max(0.0, now - row.at) * most / _MINUTE)
            refused = open_calls + calls > most
            values = {"calls": open_calls if refused else open_calls + calls, "at": now}
            connection.execute(update(rates).where(rates.c.key_id == principal.key_id).values(**values))
        if refused:
            wait = max(1, math.ceil((open_calls + calls - most) * _MINUTE / most))
            raise QuotaError(f"this key may make {most} calls a minute; try again in {wait} s", retry_after=wait)

    def _held_tenant(self, connection: Connection, tenant: str) -> Row[Any]:
        """The tenant's row, made where there is none, and held until the transaction ends: before anything else is."""
        statement = locked(select(tenants).where(tenants.c.id == tenant))
        row = connection.execute(statement).one_or_none()
        if row is None:
            _insert_ignored(connection, tenants, self._new_tenant(tenant))
            row = connection.execute(statement).one()
        return row

    def _new_tenant(self, tenant: str) -> dict[str, Any]:
        limits = self._limits(tenant)
        return {
            "id": tenant,
            "created_at": self._now(),
            "files": 0,
            "bytes": 0,
            "waiting": 0,
            "active": 0,
            "most_active": limits.jobs_at_once,
            "weight": limits.weight,
            "turn": 0.0,
            "served": 0.0,
            "ready": False,
        }

    def _count(
        self,
        connection: Connection,
        held: Row[Any],
        *,
        waiting: int = 0,
        active: int = 0,
        files: int = 0,
        size: int = 0,
        **values: Any,
    ) -> None:
        """Adds to a held tenant's counts, and says whether one of its jobs may be claimed now."""
        limits = self._limits(held.id)
        counted = {
            "waiting": held.waiting + waiting,
            "active": held.active + active,
            "files": held.files + files,
            "bytes": held.bytes + size,
        }
        ready = counted["waiting"] > 0 and counted["active"] < limits.jobs_at_once
        turn = values.pop("turn", held.turn)
        if ready and not held.ready:
            latest = connection.execute(select(func.max(tenants.c.served))).scalar_one()
            turn = turn_on_return(turn, latest)
        values |= {"ready": ready, "turn": turn, "most_active": limits.jobs_at_once, "weight": limits.weight}
        connection.execute(update(tenants).where(tenants.c.id == held.id).values(**counted, **values))

    def _check_waiting(self, held: Row[Any]) -> None:
        most = self._limits(held.id).jobs_waiting
        if held.waiting >= most:
            # Without a time to wait: nobody knows when a job starts, and clients would ask again and again.
            raise QuotaError(
                f"{held.waiting} jobs are waiting already, and {most} may; wait until some have started, or cancel some"
            )

    def _check_room(self, held: Row[Any], size: int, *, announced: int = 0) -> None:
        """Raises QuotaError where there is no room. ``announced`` are bytes that are still to come, in other uploads."""
        limits = self._limits(held.id)
        if held.files >= limits.files:
            raise QuotaError(
                f"there are {held.files} files already, and {limits.files} may be; delete some", param="file"
            )
        if held.bytes + announced + size > limits.bytes:
            also = f", uploads of {announced} are under way" if announced else ""
            raise QuotaError(
                f"files of {held.bytes} bytes are stored{also}, and {limits.bytes} may be; delete some", param="file"
            )


def _insert_ignored(connection: Connection, table: Any, values: dict[str, Any]) -> None:
    """A row, unless there is one with this key."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(table).values(**values).on_conflict_do_nothing())


def _use(row: Row[Any]) -> TenantUse:
    return TenantUse(row.id, row.files, row.bytes, row.waiting, row.active)
