"""Webhook endpoints: where a tenant wants to be told, and with which secret it is signed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query

from watchword.errors import CallError
from watchword.service.api.context import Caller, Service, ServiceDep, now, tenant_key
from watchword.service.delivering import check_url, hint_of, new_signing_secret, signed_headers
from watchword.service.types.operator import WebhookEndpoint
from watchword.service.types.tenants import Principal
from watchword.service.webhooks import DAY_SECONDS, OldSecret, Sealed, sealed, unsealed
from watchword.service.wire.base import Page, page_of
from watchword.service.wire.faults import invalid, unsupported
from watchword.service.wire.webhooks import (
    EVENT_TYPES,
    CreateEndpoint,
    EndpointDeleted,
    EndpointObject,
    EndpointWithSecret,
    EventTypeList,
    RotateSecret,
    SendTest,
    TestResult,
    UpdateEndpoint,
)

router = APIRouter(prefix="/v1", tags=["webhooks"], dependencies=[tenant_key])
_MOST_ENDPOINTS = 32


@router.get("/webhook_event_types")
def event_types() -> EventTypeList:
    """The events that there are."""
    return EventTypeList(data=list(EVENT_TYPES))


@router.post("/webhook_endpoints")
def create(body: CreateEndpoint, service: ServiceDep, caller: Caller) -> EndpointWithSecret:
    """Adds an endpoint. Its signing secret is in this answer, and in no other."""
    _check_events(body.event_types)
    check_url(body.url, private=service.settings.webhooks.private)
    if len(service.database.webhooks(caller.tenant)) >= _MOST_ENDPOINTS:
        raise invalid(f"There are {_MOST_ENDPOINTS} endpoints already; delete one.", param=None)
    kept = Sealed(body.name, new_signing_secret(), now())
    endpoint = service.database.create_webhook(
        caller, body.url, body.event_types, sealed(kept, service.keys, caller.tenant)
    )
    return _with_secret(endpoint, kept)


@router.get("/webhook_endpoints")
def list_endpoints(
    service: ServiceDep,
    caller: Caller,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Page[EndpointObject]:
    """The tenant's endpoints, in the order in which they were made."""
    found = service.database.webhooks(caller.tenant)
    places = [place for place, endpoint in enumerate(found) if endpoint.id == after]
    if after is not None:
        found = found[places[0] + 1 :] if places else []
    return page_of([_shown(endpoint, _kept(service, endpoint)) for endpoint in found[:limit]], len(found) > limit)


@router.get("/webhook_endpoints/{endpoint_id}")
def retrieve(endpoint_id: str, service: ServiceDep, caller: Caller) -> EndpointObject:
    """One endpoint."""
    endpoint = service.database.webhook(caller.tenant, endpoint_id)
    return _shown(endpoint, _kept(service, endpoint))


@router.post("/webhook_endpoints/{endpoint_id}")
def update(endpoint_id: str, body: UpdateEndpoint, service: ServiceDep, caller: Caller) -> EndpointObject:
    """Changes what is given, and leaves the rest."""
    if body.event_types is not None:
        _check_events(body.event_types)
    if body.url is not None:
        check_url(body.url, private=service.settings.webhooks.private)

    def renamed(kept: Sealed) -> Sealed:
        if body.name is None and body.url is None and body.event_types is None:
            return kept
        return msgspec.structs.replace(kept, name=body.name or kept.name, updated_at=now())

    endpoint, kept = _changed(service, caller, endpoint_id, renamed, url=body.url, events=body.event_types)
    return _shown(endpoint, kept)


@router.delete("/webhook_endpoints/{endpoint_id}")
def delete(endpoint_id: str, service: ServiceDep, caller: Caller) -> EndpointDeleted:
    """Nothing more is sent there."""
    service.database.delete_webhook(caller, endpoint_id)
    return EndpointDeleted(id=endpoint_id)


@router.post("/webhook_endpoints/{endpoint_id}/rotate_secret")
def rotate(
    endpoint_id: str, service: ServiceDep, caller: Caller, body: RotateSecret | None = None
) -> EndpointWithSecret:
    """Draws a new signing secret; the old one may go on for a day beside it."""
    keep = body is not None and body.keep_old_secret_active_for_24_hours

    def rotated(before: Sealed) -> Sealed:
        old = OldSecret(before.secret, now() + DAY_SECONDS) if keep else None
        return Sealed(before.name, new_signing_secret(), now(), old)

    endpoint, kept = _changed(service, caller, endpoint_id, rotated)
    return _with_secret(endpoint, kept)


@router.post("/webhook_endpoints/{endpoint_id}/test")
async def test(endpoint_id: str, body: SendTest, service: ServiceDep, caller: Caller) -> TestResult:
    """Sends an example at once, signed like all others, and tells what the endpoint has answered."""
    _check_events([body.event_type])

    def looked_up() -> tuple[WebhookEndpoint, Sealed]:
        endpoint = service.database.webhook(caller.tenant, endpoint_id)
        return endpoint, _kept(service, endpoint)

    endpoint, kept = await asyncio.to_thread(looked_up)
    moment, event_id = now(), f"evt_{secrets.token_hex(12)}"
    event = {
        "id": event_id,
        "object": "event",
        "created_at": int(moment),
        "type": body.event_type,
        "data": {"id": "ftjob-test"},
    }
    text = msgspec.json.encode(event).decode()
    headers = signed_headers(event_id, text, kept.secrets(moment), moment)
    status = await service.sender.post(endpoint.url, headers, text)
    if status is None:
        raise CallError("The endpoint gave no answer.", openai_code="webhook_unreachable", param="url")
    return TestResult(event_type=body.event_type, status_code=status, webhook_endpoint_id=endpoint_id)


def _changed(
    service: Service,
    caller: Principal,
    endpoint_id: str,
    change: Callable[[Sealed], Sealed],
    *,
    url: str | None = None,
    events: list[str] | None = None,
) -> tuple[WebhookEndpoint, Sealed]:
    """The endpoint with what ``change`` makes of its sealed part, while nobody else changes it."""
    made: list[Sealed] = []

    def resealed(endpoint: WebhookEndpoint) -> bytes:
        made.append(change(_kept(service, endpoint)))
        return sealed(made[-1], service.keys, caller.tenant)

    endpoint = service.database.change_webhook(caller, endpoint_id, url=url, events=events, sealed_anew=resealed)
    return endpoint, made[-1]


def _check_events(wanted: list[str]) -> None:
    for name in wanted:
        if name not in EVENT_TYPES:
            raise unsupported(
                "event_type",
                f"The event {name[:64]!r} is not sent here; choose {', '.join(EVENT_TYPES)}.",
                param="event_types",
            )


def _kept(service: Service, endpoint: WebhookEndpoint) -> Sealed:
    return unsealed(endpoint, service.keys)


def _fields(endpoint: WebhookEndpoint, kept: Sealed) -> dict[str, object]:
    return {
        "id": endpoint.id,
        "created_at": int(endpoint.created_at),
        "updated_at": int(kept.updated_at),
        "name": kept.name,
        "url": endpoint.url,
        "event_types": list(endpoint.events),
        "signing_secret_hint": hint_of(kept.secret),
    }


def _shown(endpoint: WebhookEndpoint, kept: Sealed) -> EndpointObject:
    return EndpointObject.model_validate(_fields(endpoint, kept))


def _with_secret(endpoint: WebhookEndpoint, kept: Sealed) -> EndpointWithSecret:
    return EndpointWithSecret.model_validate({**_fields(endpoint, kept), "signing_secret": kept.secret})
