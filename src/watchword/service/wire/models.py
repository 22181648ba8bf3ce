"""Models, out."""

from __future__ import annotations

from typing import Literal

from watchword.service.wire.base import Reply


class ModelObject(Reply):
    """A model that the caller may use."""

    object: Literal["model"] = "model"
    id: str
    created: int
    owned_by: str


class ModelDeleted(Reply):
    """A model that is gone."""

    object: Literal["model"] = "model"
    id: str
    deleted: bool = True


class ModelList(Reply):
    """All of them; OpenAI's list has no pages."""

    object: Literal["list"] = "list"
    data: list[ModelObject]
