"""The audit log: entries that are only ever appended, each with the digest of the one before it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, insert, select, update

from watchword.errors import AuditError, SecretError
from watchword.secret.keys import derived
from watchword.service.crash import crash_point
from watchword.service.db.connect import Connected, locked
from watchword.service.db.schema import audit_head, audit_log
from watchword.service.types.operator import AuditEntry, AuditHead

# What the first entry names as the digest before it.
GENESIS = "0" * 64
_BATCH = 1000


class AuditQueries(Connected):
    """The audit log of a database. ``audit_key`` seals its end; without one nobody notices where the end was cut off."""

    def audit_append(
        self, actor: str, action: str, *, tenant: str = "", subject: str = "", facts: Mapping[str, Any] | None = None
    ) -> AuditEntry:
        """One more entry. ``actor`` is a key's id, a worker's name, or ``cli``; ``facts`` hold no secret."""
        with self._writing() as connection:
            return self._audit(connection, actor, action, tenant=tenant, subject=subject, facts=facts)

    def audit_entries(self, *, after: int = 0, limit: int = 100) -> list[AuditEntry]:
        """Entries with a greater number than ``after``, in their order."""
        statement = select(audit_log).where(audit_log.c.number > after).order_by(audit_log.c.number).limit(limit)
        with self._reading() as connection:
            return [_entry(row) for row in connection.execute(statement)]

    def audit_head(self) -> AuditHead:
        """Where the log ends: to be written down elsewhere, as an anchor that ``audit_verify`` looks for."""
        with self._reading() as connection:
            row = connection.execute(select(audit_head)).one_or_none()
        return AuditHead(0, GENESIS) if row is None else AuditHead(row.number, row.digest)

    def audit_verify(self, anchor: AuditHead | None = None) -> AuditHead:
        """Reads the whole log. Raises AuditError, with the entry, if it is not as it was written.

        ``anchor`` is a head that was noted earlier: the log must still hold that entry.
        """
        with self._reading(snapshot=True) as connection:
            head = connection.execute(select(audit_head)).one_or_none()
            last = _verified(connection, anchor)
        if head is None and last.number == 0:
            return last
        if head is None or (head.number, head.digest) != (last.number, last.digest):
            expected = 0 if head is None else head.number
            raise AuditError(
                f"the log ends at entry {last.number}, and it was written up to {expected}: it was cut off"
            )
        if self._audit_key is not None and not hmac.compare_digest(head.seal, _seal(self._audit_key, last)):
            raise AuditError(
                f"the end of the log, entry {last.number}, is not sealed with this provider's key: the log was rewritten, "
                "or sealed with another key"
            )
        return last

    def check_key(self) -> None:
        """Raises SecretError unless this is the provider's key that the log's end is sealed with: before anything is served."""
        with self._reading() as connection:
            head = connection.execute(select(audit_head)).one()
        if self._audit_key is not None and not hmac.compare_digest(head.seal, _seal(self._audit_key, _told(head))):
            raise SecretError(
                "this is not the provider's key that the service was made with, and it would open none of its secrets; restore "
                "that key from its backup, or set WATCHWORD_KEY or WATCHWORD_KEY_FILE to it"
            )

    def _audit(
        self,
        connection: Connection,
        actor: str,
        action: str,
        *,
        tenant: str = "",
        subject: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> AuditEntry:
        """In the transaction of what it tells of. The last that it locks, so that no two can wait for each other."""
        before = _head(connection)
        told = msgspec.json.encode(facts or {}, order="deterministic").decode()
        values = {
            "number": before.number + 1,
            "at": self._now(),
            "actor": actor,
            "action": action,
            "tenant": tenant,
            "subject": subject,
            "facts": told,
            "previous": before.digest,
        }
        digest = _digest(values)
        connection.execute(insert(audit_log).values(**values, digest=digest))
        self._put_head(connection, AuditHead(before.number + 1, digest))
        crash_point("after_audit")
        return msgspec.convert({**values, "facts": msgspec.json.decode(told), "digest": digest}, AuditEntry)

    def _put_head(self, connection: Connection, head: AuditHead) -> None:
        seal = "" if self._audit_key is None else _seal(self._audit_key, head)
        connection.execute(update(audit_head).values(number=head.number, digest=head.digest, seal=seal))


def _head(connection: Connection) -> AuditHead:
    """The end of the log, held until the transaction is over."""
    row = connection.execute(locked(select(audit_head))).one()
    return _told(row)


def _told(row: Row[Any]) -> AuditHead:
    return AuditHead(row.number, row.digest)


def _verified(connection: Connection, anchor: AuditHead | None) -> AuditHead:
    last, seen = AuditHead(0, GENESIS), anchor is None or anchor.number == 0
    for row in _all(connection):
        if row.number != last.number + 1:
            raise AuditError(f"entry {last.number + 1} is missing: after {last.number} comes {row.number}")
        if row.previous != last.digest:
            raise AuditError(f"entry {row.number} does not follow the one before it: one of them was changed or moved")
        if row.digest != _digest({name: value for name, value in row._mapping.items() if name != "digest"}):
            raise AuditError(f"entry {row.number} was changed after it was written")
        last = AuditHead(row.number, row.digest)
        seen = seen or last == anchor
    if not seen and anchor is not None:
        raise AuditError(
            f"entry {anchor.number} with digest {anchor.digest} is not in the log: it was cut off or rewritten since"
        )
    return last


def _all(connection: Connection) -> Iterator[Row[Any]]:
    """Every entry in order, a batch at a time."""
    after = None
    while True:
        statement = select(audit_log).order_by(audit_log.c.number).limit(_BATCH)
        rows = connection.execute(statement if after is None else statement.where(audit_log.c.number > after)).all()
        yield from rows
        if len(rows) < _BATCH:
            return
        after = rows[-1].number


def _entry(row: Row[Any]) -> AuditEntry:
    fields = {str(name): value for name, value in row._mapping.items()}
    return msgspec.convert(fields | {"facts": msgspec.json.decode(row.facts)}, AuditEntry)


def _digest(values: Mapping[str, Any]) -> str:
    """SHA-256 over an entry's fields in their order, as JSON; the digest of the entry before is one of them."""
    return hashlib.sha256(msgspec.json.encode(dict(values), order="deterministic")).hexdigest()


def _seal(key: bytes, head: AuditHead) -> str:
    told = f"{head.number}:{head.digest}".encode()
    return hmac.new(derived(key, "audit"), told, hashlib.sha256).hexdigest()
