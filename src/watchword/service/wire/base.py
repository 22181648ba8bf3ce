"""What all wire models share: strict requests, whole replies, and pages of a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Item = TypeVar("Item", bound=BaseModel)
_PAIRS = 16
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=_PAIRS)]
ObjectId = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Request(BaseModel):
    """A request's body: known fields in strict types, everything else is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Reply(BaseModel):
    """A reply's body: every field is written, those without a value as null."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Page(Reply, Generic[Item]):
    """A page of a list; the client asks for the next one with ``after``, the id of the last item."""

    object: Literal["list"] = "list"
    data: list[Item]
    has_more: bool
    first_id: str | None = None
    last_id: str | None = None


def page_of(items: Sequence[Item], has_more: bool) -> Page[Item]:
    """A page of items that have an id."""
    ids = [str(getattr(item, "id")) for item in items]  # noqa: B009 -- Item is any reply with an id
    return Page[Item](
        data=list(items), has_more=has_more, first_id=ids[0] if ids else None, last_id=ids[-1] if ids else None
    )
