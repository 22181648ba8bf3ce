"""POST /v1/chat/completions as a tenant may send it: known fields in strict types, everything else is refused.

Left out on purpose are fields of engines that

- show the rendered prompt: ``echo``, ``prompt_logprobs``, ``return_token_ids`` …
- cut it or write it otherwise: ``truncate_prompt_tokens``, ``chat_template``, ``continue_final_message`` …
- share or split the prefix cache: ``cache_salt``
- reach into other requests: ``bad_words``, ``thinking_token_budget`` …
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from watchword.gateway.wire.decoding import Strict

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Positive = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
Share = Annotated[float, Meta(ge=0, le=1)]
Answers = Annotated[int, Meta(ge=1, le=16)]
# An empty one would end every answer before its first letter, or is an error of some servers.
Stop = Annotated[str, Meta(min_length=1)]
Stops = Stop | Annotated[list[Stop], Meta(max_length=4)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
LogitBias = dict[Annotated[str, Meta(pattern="^[0-9]+$")], Annotated[float, Meta(ge=-100, le=100)]]


class TextPart(Strict, tag_field="type", tag="text"):
    text: str


class ImageUrl(Strict):
    url: str
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(Strict, tag_field="type", tag="image_url"):
    image_url: ImageUrl


class RefusalPart(Strict, tag_field="type", tag="refusal"):
    refusal: str


class CalledFunction(Strict):
    name: Name
    arguments: str


class CallJson(Strict):
    id: Name
    function: CalledFunction
    type: Literal["function"]


# A system message takes no name: templates write names into the header in front of the secret.
class SystemMessage(Strict, tag_field="role", tag="system"):
    content: str | list[TextPart]


class DeveloperMessage(Strict, tag_field="role", tag="developer"):
    content: str | list[TextPart]


class UserMessage(Strict, tag_field="role", tag="user"):
    content: str | list[TextPart | ImagePart]
    name: Name | None = None


class AssistantMessage(Strict, tag_field="role", tag="assistant"):
    content: str | list[TextPart | RefusalPart] | None = None
    name: Name | None = None
    refusal: str | None = None
    tool_calls: list[CallJson] | None = None


class ToolMessage(Strict, tag_field="role", tag="tool"):
    content: str | list[TextPart]
    tool_call_id: Name
    name: Name | None = None


MessageJson = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


class FunctionJson(Strict):
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolJson(Strict):
    function: FunctionJson
    type: Literal["function"]


class ChosenFunction(Strict):
    name: Name


class ChosenTool(Strict):
    function: ChosenFunction
    type: Literal["function"]


class JsonSchema(Strict):
    name: Name
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class TextFormat(Strict, tag_field="type", tag="text"):
    pass


class ObjectFormat(Strict, tag_field="type", tag="json_object"):
    pass


class SchemaFormat(Strict, tag_field="type", tag="json_schema"):
    json_schema: JsonSchema


class StreamOptions(Strict):
    include_usage: bool | None = None


class SharedBody(Strict, kw_only=True):
    """What chats and completions have in common. Fields of the last group stay here; the others go on to the server."""

    model: Name

    temperature: Temperature | None = None
    top_p: Share | None = None
    n: Answers | None = None
    stop: Stops | None = None
    seed: Seed | None = None
    max_tokens: Positive | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: LogitBias | None = None

    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None


class ChatBody(SharedBody, kw_only=True):
    """The whole request, grouped in the same way."""

    messages: Annotated[list[MessageJson], Meta(min_length=1)]

    tools: list[ToolJson] | None = None
    tool_choice: Literal["none", "auto", "required"] | ChosenTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: TextFormat | ObjectFormat | SchemaFormat | None = None
    max_completion_tokens: Positive | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None

    safety_identifier: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
