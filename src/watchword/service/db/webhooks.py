"""Webhook endpoints, and the outbox: what is still to be told, written together with what it tells of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from watchword.service.db.audit import AuditQueries
from watchword.service.db.connect import locked, new_id
from watchword.service.db.rows import of_owner, one, plain, value_of
from watchword.service.db.schema import outbox, webhook_endpoints
from watchword.service.types.operator import Delivery, WebhookEndpoint
from watchword.service.types.tenants import EVERY_TENANT, Owner, Principal


class WebhookQueries(AuditQueries):
    """Where tenants want to be told, and what is still on its way to them."""

    def create_webhook(
        self, principal: Principal, url: str, events: Sequence[str], sealed_secret: bytes
    ) -> WebhookEndpoint:
        """An endpoint that is told of these events. An empty list stands for all of them."""
        made = WebhookEndpoint(
            new_id("whe_"), principal.tenant, url, tuple(events), sealed_secret, enabled=True, created_at=self._now()
        )
        values = {name: getattr(made, name) for name in WebhookEndpoint.__dataclass_fields__}
        with self._writing() as connection:
            connection.execute(insert(webhook_endpoints).values(**values | {"events": list(events)}))
            self._audit(connection, principal.key_id, "webhook.created", tenant=principal.tenant, subject=made.id)
        return made

    def webhooks(self, owner: Owner) -> list[WebhookEndpoint]:
        """Every endpoint, in the order in which they were made."""
        order = webhook_endpoints.c.created_at, webhook_endpoints.c.id
        statement = select(webhook_endpoints).where(of_owner(webhook_endpoints, owner)).order_by(*order)
        with self._reading() as connection:
            return [value_of(row, WebhookEndpoint) for row in connection.execute(statement)]

    def webhook(self, owner: Owner, endpoint_id: str) -> WebhookEndpoint:
        """Raises NotFoundError."""
        with self._reading() as connection:
            return value_of(
                one(connection, _endpoint(owner, endpoint_id), "webhook endpoint", endpoint_id), WebhookEndpoint
            )

    def change_webhook(
        self,
        principal: Principal,
        endpoint_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        sealed_anew: Callable[[WebhookEndpoint], bytes] | None = None,
        enabled: bool | None = None,
    ) -> WebhookEndpoint:
        """Changes what is given, and leaves the rest. Raises NotFoundError.

        ``sealed_anew`` makes the new sealed secret of the endpoint as it is, while nobody else changes it.
        """
        given: dict[str, Any] = {"url": url, "enabled": enabled}
        given["events"] = None if events is None else list(events)
        values = {name: value for name, value in given.items() if value is not None}
        with self._writing() as connection:
            row = one(connection, locked(_endpoint(principal.tenant, endpoint_id)), "webhook endpoint", endpoint_id)
            if sealed_anew is not None:
                values["sealed_secret"] = sealed_anew(value_of(row, WebhookEndpoint))
            if values:
                where = webhook_endpoints.c.id == endpoint_id
                connection.execute(update(webhook_endpoints).where(where).values(**values))
                facts = {"changed": sorted(values)}
                self._audit(
                    connection,
                    principal.key_id,
                    "webhook.changed",
                    tenant=principal.tenant,
                    subject=endpoint_id,
                    facts=facts,
                )
            return value_of(connection.execute(_endpoint(principal.tenant, endpoint_id)).one(), WebhookEndpoint)

    def reseal_webhook(self, endpoint_id: str, sealed_anew: Callable[[WebhookEndpoint], bytes | None]) -> bool:
        """Stores what ``sealed_anew`` makes of an endpoint's sealed secret, while nobody else changes it. Whether it did."""
        with self._writing() as connection:
            row = connection.execute(locked(_endpoint(EVERY_TENANT, endpoint_id))).one_or_none()
            fresh = None if row is None else sealed_anew(value_of(row, WebhookEndpoint))
            if fresh is not None:
                where = webhook_endpoints.c.id == endpoint_id
                connection.execute(update(webhook_endpoints).where(where).values(sealed_secret=fresh))
        return fresh is not None

    def delete_webhook(self, principal: Principal, endpoint_id: str) -> WebhookEndpoint:
        """Nothing more is sent there. Raises NotFoundError."""
        with self._writing() as connection:
            row = one(connection, _endpoint(principal.tenant, endpoint_id), "webhook endpoint", endpoint_id)
            connection.execute(delete(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id))
            open_ = outbox.c.endpoint_id == endpoint_id, outbox.c.done_at.is_(None)
            values = {"done_at": self._now(), "due_at": None, "last_error": "the endpoint was deleted"}
            connection.execute(update(outbox).where(*open_).values(**values))
            self._audit(connection, principal.key_id, "webhook.deleted", tenant=principal.tenant, subject=endpoint_id)
        return value_of(row, WebhookEndpoint)

    def send(self, tenant: str, endpoint_id: str, event_type: str, data: Mapping[str, Any]) -> Delivery:
        """Puts an event for one endpoint into the outbox, such as the one that tests it. Raises NotFoundError."""
        with self._writing() as connection:
            one(connection, _endpoint(tenant, endpoint_id), "webhook endpoint", endpoint_id)
            delivery_id = _put(connection, tenant, endpoint_id, _event(event_type, data, self._now()), self._now())
            row = connection.execute(select(outbox).where(outbox.c.id == delivery_id)).one()
        return value_of(row, Delivery)

    def outbox_due(self, *, limit: int = 20, hold_seconds: float = 60.0) -> list[Delivery]:
        """What is to be sent now, the oldest first. It is nobody else's for ``hold_seconds``, and then due again."""
        due = outbox.c.due_at <= self._now()
        statement = select(outbox).where(due).order_by(outbox.c.due_at, outbox.c.seq).limit(limit)
        with self._reading() as connection:
            # Nearly always: nothing to do, and no writer to wait for.
            if connection.execute(select(outbox.c.seq).where(due).limit(1)).first() is None:
                return []
        with self._writing() as connection:
            rows = connection.execute(locked(statement, skip=True)).all()
            taken = {"due_at": self._now() + hold_seconds, "attempts": outbox.c.attempts + 1}
            connection.execute(update(outbox).where(outbox.c.seq.in_([row.seq for row in rows])).values(**taken))
        return [value_of(row, Delivery) for row in rows]

    def outbox_done(self, delivery_id: str) -> None:
        """It has arrived."""
        self._settle_delivery(delivery_id, {"done_at": self._now(), "due_at": None, "last_error": None})

    def outbox_failed(self, delivery_id: str, error: str, *, retry_at: float | None) -> None:
        """It has not arrived. It is due again at ``retry_at``; None gives it up."""
        done = self._now() if retry_at is None else None
        self._settle_delivery(delivery_id, {"due_at": retry_at, "done_at": done, "last_error": error})

    def _settle_delivery(self, delivery_id: str, values: Mapping[str, Any]) -> None:
        with self._writing() as connection:
            where = outbox.c.id == delivery_id, outbox.c.done_at.is_(None)
            connection.execute(update(outbox).where(*where).values(**values))


def tell_endpoints(connection: Connection, tenant: str, event_type: str, data: Mapping[str, Any], now: float) -> None:
    """Puts an event into the outbox for each of the tenant's endpoints that wants to know, under one event id."""
    body = _event(event_type, data, now)
    enabled = webhook_endpoints.c.tenant == tenant, webhook_endpoints.c.enabled
    for row in connection.execute(select(webhook_endpoints).where(*enabled)):
        if not row.events or event_type in row.events:
            _put(connection, tenant, row.id, body, now)


def _event(event_type: str, data: Mapping[str, Any], now: float) -> dict[str, Any]:
    event_id = new_id("evt_")
    return {"id": event_id, "object": "event", "created_at": int(now), "type": event_type, "data": plain(dict(data))}


def _put(connection: Connection, tenant: str, endpoint_id: str, body: Mapping[str, Any], now: float) -> str:
    delivery_id = new_id("whd_")
    values = {"id": delivery_id, "event_id": body["id"], "tenant": tenant, "endpoint_id": endpoint_id}
    values |= {"type": body["type"], "body": body, "created_at": now, "attempts": 0, "due_at": now}
    connection.execute(insert(outbox).values(**values))
    return delivery_id


def _endpoint(owner: Owner, endpoint_id: str) -> Any:
    table = webhook_endpoints
    return select(table).where(of_owner(table, owner), table.c.id == endpoint_id)
