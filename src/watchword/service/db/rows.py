"""From rows to the service's own values, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, Table, select, true

from watchword.errors import NotFoundError
from watchword.service.types.tenants import EveryTenant, Owner, Page

_T = TypeVar("_T")


def value_of(row: Row[Any], kind: type[_T]) -> _T:
    """The dataclass of this kind, whose fields are columns of the row."""
    # SQLAlchemy names some columns by a kind of str of its own.
    return msgspec.convert({str(name): value for name, value in row._mapping.items()}, kind)


def plain(value: Any) -> Any:
    """A value of ours as JSON's own kinds, for a column."""
    return msgspec.to_builtins(value)


def of_owner(table: Table, owner: Owner) -> ColumnElement[bool]:
    """Only what belongs to this tenant."""
    return true() if isinstance(owner, EveryTenant) else table.c.tenant == owner


def missing(kind: str, found_id: str, param: str | None = None) -> NotFoundError:
    """The same words for what there is not and for what is another tenant's."""
    return NotFoundError(f"there is no {kind} {found_id!r}", param=param)


def one(connection: Connection, statement: Select[Any], kind: str, wanted: str, param: str | None = None) -> Row[Any]:
    """The one row. Raises NotFoundError."""
    row = connection.execute(statement).one_or_none()
    if row is None:
        raise missing(kind, wanted, param)
    return row


def paged(
    connection: Connection,
    table: Table,
    where: Sequence[ColumnElement[bool]],
    kind: type[_T],
    *,
    after: str | None,
    limit: int,
    ascending: bool = False,
    key: str = "id",
) -> Page[_T]:
    """Items that came before ``after`` (or came after it, if ``ascending``), newest first (or oldest first).

    An ``after`` that is no longer there, or is another tenant's, gives an empty page.
    """
    statement = select(table).where(*where)
    if after is not None:
        place = select(table.c.seq).where(*where, table.c[key] == after).scalar_subquery()
        statement = statement.where(table.c.seq > place if ascending else table.c.seq < place)
    order = table.c.seq.asc() if ascending else table.c.seq.desc()
    rows = connection.execute(statement.order_by(order).limit(limit + 1)).all() if limit > 0 else []
    return Page(tuple(value_of(row, kind) for row in rows[:limit]), len(rows) > limit)
