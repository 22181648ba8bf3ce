"""API keys: made, listed and revoked; who a key belongs to."""

from __future__ import annotations

from sqlalchemy import insert, select, update

from watchword.errors import UsageError
from watchword.service.db.audit import AuditQueries
from watchword.service.db.rows import missing, of_owner, value_of
from watchword.service.db.schema import api_keys
from watchword.service.keys import DrawnKey
from watchword.service.types.tenants import EVERY_TENANT, ApiKey, Owner, Principal, Scope

_MOST_NAME = 64


class KeyQueries(AuditQueries):
    """The keys by which tenants and operators call."""

    def create_key(
        self,
        drawn: DrawnKey,
        tenant: str,
        *,
        scope: Scope = Scope.TENANT,
        name: str = "",
        expires_at: float | None = None,
        actor: str = "cli",
    ) -> ApiKey:
        """Keeps what may be kept of a key that was just drawn."""
        check_tenant(tenant)
        key = ApiKey(drawn.id, tenant, scope, drawn.digest, name, self._now(), expires_at)
        with self._writing() as connection:
            connection.execute(insert(api_keys).values(**_columns(key)))
            facts = {"scope": scope, "expires_at": expires_at}
            self._audit(connection, actor, "key.created", tenant=tenant, subject=key.id, facts=facts)
        return key

    def keys(self, owner: Owner = EVERY_TENANT) -> list[ApiKey]:
        """All keys, revoked and expired ones too, in the order in which they were made."""
        statement = select(api_keys).where(of_owner(api_keys, owner)).order_by(api_keys.c.created_at, api_keys.c.id)
        with self._reading() as connection:
            return [value_of(row, ApiKey) for row in connection.execute(statement)]

    def tenant_of(self, key_id: str) -> str:
        """Whose key it is. Raises NotFoundError."""
        with self._reading() as connection:
            found = connection.execute(select(api_keys.c.tenant).where(api_keys.c.id == key_id)).scalar_one_or_none()
        if found is None:
            raise missing("key", key_id)
        return str(found)

    def revoke_key(self, key_id: str, *, actor: str = "cli") -> ApiKey:
        """From now on the key opens nothing. Raises NotFoundError; one that is revoked already stays so."""
        with self._writing() as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).one_or_none()
            if row is None:
                raise missing("key", key_id)
            if row.revoked_at is None:
                now = self._now()
                connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=now))
                self._audit(connection, actor, "key.revoked", tenant=row.tenant, subject=key_id)
            return value_of(connection.execute(select(api_keys).where(api_keys.c.id == key_id)).one(), ApiKey)

    def principal_of(self, digest: str) -> Principal | None:
        """Whose key has this digest; None for one that is unknown, revoked, or expired."""
        with self._reading() as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.digest == digest)).one_or_none()
        if row is None or row.revoked_at is not None:
            return None
        if row.expires_at is not None and row.expires_at <= self._now():
            return None
        return Principal(row.tenant, row.id, Scope(row.scope))


def check_tenant(name: str) -> None:
    """Raises UsageError for a name that cannot stand in model names, logs and folders."""
    if not (1 <= len(name) <= _MOST_NAME and name.isascii() and name.replace("-", "").replace("_", "").isalnum()):
        raise UsageError(
            f"the tenant's name {name!r} is not 1 to {_MOST_NAME} letters, digits, hyphens and underscores",
            param="tenant",
        )


def _columns(key: ApiKey) -> dict[str, object]:
    return {name: getattr(key, name) for name in ApiKey.__dataclass_fields__}
