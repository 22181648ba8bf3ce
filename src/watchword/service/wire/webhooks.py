"""Webhook endpoints, in and out, and the body of a delivery."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from watchword.service.wire.base import Reply, Request

EventType = Literal["fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"]
EVENT_TYPES: tuple[EventType, ...] = (
    "fine_tuning.job.succeeded",
    "fine_tuning.job.failed",
    "fine_tuning.job.cancelled",
)
Url = Annotated[str, StringConstraints(min_length=9, max_length=2048, pattern="^https?://")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]
EventTypes = Annotated[list[str], Field(min_length=1, max_length=64)]


class CreateEndpoint(Request):
    """Where to send which events."""

    event_types: EventTypes
    name: Name
    url: Url


class UpdateEndpoint(Request):
    """What is to be changed; the rest stays."""

    event_types: EventTypes | None = None
    name: Name | None = None
    url: Url | None = None


class RotateSecret(Request):
    """Whether the old secret goes on for a day."""

    keep_old_secret_active_for_24_hours: bool = False


class SendTest(Request):
    """Which event a test delivery is of."""

    event_type: str


class EndpointObject(Reply):
    """An endpoint."""

    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    id: str
    created_at: int
    updated_at: int | None = None
    name: str
    url: str
    event_types: list[str]
    signing_secret_hint: str | None = None


class EndpointWithSecret(EndpointObject):
    """An endpoint with its signing secret, which is shown when it is made and never again."""

    signing_secret: str = Field(repr=False)


class EndpointDeleted(Reply):
    """An endpoint that is gone."""

    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    id: str
    deleted: bool = True


class TestResult(Reply):
    """What an endpoint has answered to a test."""

    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    event_type: str
    status_code: int
    success: Literal[True] = True
    webhook_endpoint_id: str


class EventTypeList(Reply):
    """The events that there are."""

    object: Literal["list"] = "list"
    data: list[str]
