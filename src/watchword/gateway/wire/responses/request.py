"""POST /v1/responses as a tenant may send it: known fields in strict types, everything else is refused.

Fields of the last group are known in order to be refused with a reason: most need replies that are stored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from watchword.gateway.wire.chat.request import Name, Positive, Share, Temperature
from watchword.gateway.wire.decoding import Strict

Status = Literal["in_progress", "completed", "incomplete"]
# What we write ourselves and read again: annotations and log probabilities that hold nothing.
Nothing = Annotated[list[Any], Meta(max_length=0)]


class InputText(Strict, tag_field="type", tag="input_text"):
    text: str


class InputImage(Strict, tag_field="type", tag="input_image"):
    image_url: str
    detail: Literal["auto", "low", "high"] | None = None


class OutputText(Strict, tag_field="type", tag="output_text"):
    text: str
    annotations: Nothing | None = None
    logprobs: Nothing | None = None


class OutputRefusal(Strict, tag_field="type", tag="refusal"):
    refusal: str


class KindOfItem(msgspec.Struct):
    """What decides how an item is read. A message need not say that it is one."""

    type: str = "message"
    role: str = ""


class SystemItem(Strict, kw_only=True):
    type: Literal["message"] = "message"
    role: Literal["system", "developer"]
    content: str | list[InputText]
    id: Name | None = None
    status: Status | None = None


class UserItem(Strict, kw_only=True):
    type: Literal["message"] = "message"
    role: Literal["user"]
    content: str | list[InputText | InputImage]
    id: Name | None = None
    status: Status | None = None


class AssistantItem(Strict, kw_only=True):
    type: Literal["message"] = "message"
    role: Literal["assistant"]
    content: str | list[InputText | OutputText | OutputRefusal]
    id: Name | None = None
    status: Status | None = None


class CallItem(Strict, kw_only=True):
    type: Literal["function_call"]
    call_id: Name
    name: Name
    arguments: str
    id: Name | None = None
    status: Status | None = None


class ResultItem(Strict, kw_only=True):
    type: Literal["function_call_output"]
    call_id: Name
    output: str | list[InputText]
    id: Name | None = None
    status: Status | None = None


Item = SystemItem | UserItem | AssistantItem | CallItem | ResultItem


class FunctionTool(Strict):
    type: Literal["function"]
    name: Name
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class ChosenFunction(Strict):
    type: Literal["function"]
    name: Name


class PlainFormat(Strict, tag_field="type", tag="text"):
    pass


class ObjectFormat(Strict, tag_field="type", tag="json_object"):
    pass


class SchemaFormat(Strict, tag_field="type", tag="json_schema"):
    name: Name
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class TextSettings(Strict):
    format: PlainFormat | ObjectFormat | SchemaFormat | None = None


class ResponsesBody(Strict, kw_only=True):
    """The whole request. Fields of the second group stay here or come back in the reply."""

    model: Name
    input: str | Annotated[list[msgspec.Raw], Meta(min_length=1)]
    instructions: str | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | ChosenFunction | None = None
    parallel_tool_calls: bool | None = None
    text: TextSettings | None = None
    temperature: Temperature | None = None
    top_p: Share | None = None
    max_output_tokens: Positive | None = None
    stream: bool | None = None

    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    background: bool | None = None
    store: bool | None = None
    truncation: Literal["auto", "disabled"] | None = None
    include: list[str] | None = None
    conversation: Any = None
    previous_response_id: Any = None
    prompt: Any = None
    reasoning: Any = None
    max_tool_calls: Any = None
    top_logprobs: Any = None
    stream_options: Any = None
    service_tier: Any = None
