"""POST /v1/completions as a tenant may send it."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from watchword.gateway.wire.chat.request import SharedBody


class CompletionsBody(SharedBody, kw_only=True):
    """The whole request. All fields of its own but ``prompt`` are known in order to be refused with a reason."""

    prompt: str | Annotated[list[Any], Meta(min_length=1)]

    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None
    logprobs: int | None = None
