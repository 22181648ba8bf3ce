"""POST /v1/messages as a tenant may send it: known fields in strict types, everything else is refused.

``cache_control`` is taken everywhere and goes no further: the server caches by itself. Fields of the last group are
known in order to be refused with a reason.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from watchword.gateway.wire.chat.request import Name, Positive, Share
from watchword.gateway.wire.decoding import Strict

Nothing = Annotated[list[Any], Meta(max_length=0)]


class CacheControl(Strict):
    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class TextBlock(Strict, tag_field="type", tag="text"):
    text: str
    cache_control: CacheControl | None = None
    # Ours are empty, and come back with the talk.
    citations: Nothing | None = None


class Base64Source(Strict, tag_field="type", tag="base64"):
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: str


class UrlSource(Strict, tag_field="type", tag="url"):
    url: str


class ImageBlock(Strict, tag_field="type", tag="image"):
    source: Base64Source | UrlSource
    cache_control: CacheControl | None = None


class ToolUseBlock(Strict, tag_field="type", tag="tool_use"):
    id: Name
    name: Name
    input: dict[str, Any]
    cache_control: CacheControl | None = None


class ToolResultBlock(Strict, tag_field="type", tag="tool_result"):
    tool_use_id: Name
    content: str | list[TextBlock] | None = None
    is_error: bool | None = None
    cache_control: CacheControl | None = None


class SystemMessage(Strict, tag_field="role", tag="system"):
    content: str | list[TextBlock]


class UserMessage(Strict, tag_field="role", tag="user"):
    content: str | list[TextBlock | ImageBlock | ToolResultBlock]


class AssistantMessage(Strict, tag_field="role", tag="assistant"):
    content: str | list[TextBlock | ToolUseBlock]


MessageJson = SystemMessage | UserMessage | AssistantMessage


class Tool(Strict):
    name: Name
    input_schema: dict[str, Any]
    description: str | None = None
    type: Literal["custom"] | None = None
    strict: bool | None = None
    cache_control: CacheControl | None = None


class AutoChoice(Strict, tag_field="type", tag="auto"):
    disable_parallel_tool_use: bool | None = None


class AnyChoice(Strict, tag_field="type", tag="any"):
    disable_parallel_tool_use: bool | None = None


class ToolChoice(Strict, tag_field="type", tag="tool"):
    name: Name
    disable_parallel_tool_use: bool | None = None


class NoChoice(Strict, tag_field="type", tag="none"):
    pass


Choice = AutoChoice | AnyChoice | ToolChoice | NoChoice


class SchemaFormat(Strict):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputSettings(Strict):
    format: SchemaFormat | None = None
    effort: Any = None


class Metadata(Strict):
    user_id: str | None = None


class Thinking(Strict):
    type: Literal["disabled", "enabled", "adaptive"]
    budget_tokens: int | None = None
    display: str | None = None


class TalkBody(Strict, kw_only=True):
    """What is asked and what is counted have in common."""

    model: Name
    messages: Annotated[list[MessageJson], Meta(min_length=1)]
    system: str | list[TextBlock] | None = None
    tools: list[Tool] | None = None
    tool_choice: Choice | None = None
    output_config: OutputSettings | None = None
    cache_control: CacheControl | None = None
    thinking: Thinking | None = None


class MessagesBody(TalkBody, kw_only=True):
    """The whole request."""

    max_tokens: Positive
    stop_sequences: Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(max_length=4)] | None = None
    temperature: Share | None = None
    top_p: Share | None = None
    stream: bool | None = None
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None

    top_k: Any = None
    container: Any = None
    mcp_servers: Any = None
    context_management: Any = None
