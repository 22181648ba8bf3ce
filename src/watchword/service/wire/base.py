"""What all wire models share: strict requests, whole replies, and pages of a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, StringConstraints

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
    """A reply's body: every field is written, those without a value as null, or not at all where they are ``left_out``."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_serialization_defaults_required=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describes what is left out as what may be missing and is never null."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        for name in (name for name, field in cls.model_fields.items() if field.exclude_if is not None):
            (kind,) = (one for one in schema["properties"][name].pop("anyOf") if one != {"type": "null"})
            schema["properties"][name] = {**kind, **schema["properties"][name]}
            schema["properties"][name].pop("default", None)
            if name in schema.get("required", ()):
                schema["required"].remove(name)
        return schema


def left_out() -> Any:
    """A field that is not written without a value, as OpenAI has it."""
    return Field(default=None, exclude_if=_is_none)


def _is_none(value: object) -> bool:
    return value is None


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
