"""Every form of request that the gateway takes: how a text is asked in it, and samples of each of its fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from support.gateway_parts import MODEL
from watchword.gateway.wire.chat.request import ChatBody
from watchword.gateway.wire.completions.request import CompletionsBody
from watchword.gateway.wire.messages.request import MessagesBody
from watchword.gateway.wire.responses.request import ResponsesBody

# Everything that is known to show the prompt, cut it, re-write it, or reach into other requests.
DANGEROUS = [
    "add_generation_prompt",
    "add_special_tokens",
    "allowed_token_ids",
    "audio",
    "bad_words",
    "best_of",
    "bypass_reasoning_tokens",
    "cache_prompt",
    "cache_salt",
    "chat_template",
    "chat_template_kwargs",
    "continue_final_message",
    "documents",
    "dry_multiplier",
    "echo",
    "ec_transfer_params",
    "extra_key",
    "features",
    "function_call",
    "functions",
    "grammar",
    "guided_decoding_backend",
    "guided_json",
    "guided_regex",
    "id_slot",
    "ignore_eos",
    "include_reasoning",
    "kv_transfer_params",
    "length_penalty",
    "lora",
    "lora_path",
    "media_io_kwargs",
    "min_p",
    "min_tokens",
    "mm_hashes",
    "mm_processor_kwargs",
    "modalities",
    "n_keep",
    "n_probs",
    "post_sampling_probs",
    "prediction",
    "previous_response_id",
    "priority",
    "prompt",
    "prompt_logprobs",
    "reasoning_effort",
    "repetition_penalty",
    "request_id",
    "return_prompt_text",
    "return_token_ids",
    "return_token_offsets",
    "return_tokens_as_token_ids",
    "routed_experts",
    "service_tier",
    "session_params",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "stop_token_ids",
    "structured_outputs",
    "thinking_token_budget",
    "top_k",
    "truncate_prompt_tokens",
    "truncation_side",
    "use_beam_search",
    "verbosity",
    "vllm_xargs",
    "web_search_options",
]

FUNCTION = {"name": "oven", "description": "Set it", "parameters": {"type": "object"}}
SCHEMA = {"name": "s", "schema": {"type": "object"}}
CACHED = {"type": "ephemeral"}
# Samples of one field: taken ones and refused ones, each with the fields that it needs beside it.
Samples = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Form:
    """``asking`` is a request that asks a text, ``body`` what it is decoded to."""

    path: str
    body: type[msgspec.Struct]
    asking: Callable[[str], dict[str, Any]]
    samples: Samples

    def ask(self, text: str, **fields: Any) -> dict[str, Any]:
        """A request that asks a text."""
        return {"model": MODEL, **self.asking(text), **fields}


def _each(name: str, *values: Any, **beside: Any) -> list[dict[str, Any]]:
    return [{name: value, **beside} for value in values]


_SHARED: Samples = {
    "temperature": _each("temperature", 0, 0.7, 3),
    "top_p": _each("top_p", 0.5, 2),
    "n": _each("n", 2, 99),
    "stop": _each("stop", "END", ["a", "b"], [1]),
    "seed": _each("seed", 3, "x"),
    "max_tokens": _each("max_tokens", 5, 0),
    "presence_penalty": _each("presence_penalty", 1, 9),
    "frequency_penalty": _each("frequency_penalty", 1, 9),
    "logit_bias": _each("logit_bias", {"5": 100}, {"x": 1}),
    "stream": _each("stream", None, "yes"),
    "stream_options": [{"stream": True, "stream_options": {"include_usage": True}}, *_each("stream_options", {"x": 1})],
    "user": _each("user", "ann", 5),
}
_CHAT: Samples = {
    **_SHARED,
    "tools": _each("tools", [{"type": "function", "function": FUNCTION}], [{"type": "code"}]),
    "tool_choice": _each("tool_choice", "auto", "maybe"),
    "parallel_tool_calls": _each("parallel_tool_calls", False, "x"),
    "response_format": _each(
        "response_format", {"type": "json_object"}, {"type": "json_schema", "json_schema": SCHEMA}, {"type": "x"}
    ),
    "max_completion_tokens": _each("max_completion_tokens", 5, 0),
    "logprobs": _each("logprobs", True, "x"),
    "top_logprobs": [{"logprobs": True, "top_logprobs": 3}, *_each("top_logprobs", 3)],
    "safety_identifier": _each("safety_identifier", "x", 5),
    "metadata": _each("metadata", {"a": "b"}, "x"),
    "store": _each("store", False, True),
}
_COMPLETIONS: Samples = {
    **_SHARED,
    "echo": _each("echo", False, True),
    "suffix": _each("suffix", None, "x"),
    "best_of": _each("best_of", 1, 2),
    "logprobs": _each("logprobs", None, 2),
}
_RESPONSES: Samples = {
    "instructions": _each("instructions", "Be brief.", 5),
    "tools": _each("tools", [{"type": "function", **FUNCTION}], [{"type": "web_search"}]),
    "tool_choice": _each("tool_choice", "auto", {"type": "function", "name": "oven"}, "maybe"),
    "parallel_tool_calls": _each("parallel_tool_calls", False, "x"),
    "text": _each("text", {"format": {"type": "json_schema", **SCHEMA}}, {"format": {"type": "x"}}),
    "temperature": _each("temperature", 0, 0.7, 3),
    "top_p": _each("top_p", 0.5, 2),
    "max_output_tokens": _each("max_output_tokens", 5, 0),
    "stream": _each("stream", None, "yes"),
    "metadata": _each("metadata", {"a": "b"}, "x"),
    "user": _each("user", "ann", 5),
    "safety_identifier": _each("safety_identifier", "x", 5),
    "prompt_cache_key": _each("prompt_cache_key", "x", 5),
    "background": _each("background", False, True),
    "store": _each("store", False, True),
    "truncation": _each("truncation", "disabled", "auto"),
    "include": _each("include", [], ["message.output_text.logprobs"]),
    "conversation": _each("conversation", None, "conv_1"),
    "previous_response_id": _each("previous_response_id", None, "resp_1"),
    "prompt": _each("prompt", None, {"id": "x"}),
    "reasoning": _each("reasoning", None, {"effort": "low"}),
    "max_tool_calls": _each("max_tool_calls", None, 3),
    "top_logprobs": _each("top_logprobs", None, 3),
    "stream_options": _each("stream_options", None, {"include_obfuscation": False}),
    "service_tier": _each("service_tier", None, "flex"),
}
_MESSAGES: Samples = {
    "system": _each("system", "Be brief.", [{"type": "text", "text": "Be brief."}], 5),
    "tools": _each("tools", [{"name": "oven", "input_schema": {"type": "object"}}], [{"type": "bash_20250124"}]),
    "tool_choice": _each("tool_choice", {"type": "auto"}, {"type": "maybe"}),
    "output_config": _each(
        "output_config", {"format": {"type": "json_schema", "schema": {"type": "object"}}}, {"effort": "low"}
    ),
    "cache_control": _each("cache_control", CACHED, {"type": "x"}),
    "thinking": _each("thinking", {"type": "disabled"}, {"type": "adaptive"}),
    "max_tokens": _each("max_tokens", 5, 0),
    "stop_sequences": _each("stop_sequences", ["END"], "END"),
    "temperature": _each("temperature", 0, 0.7, 3),
    "top_p": _each("top_p", 0.5, 2),
    "stream": _each("stream", None, "yes"),
    "metadata": _each("metadata", {"user_id": "ann"}, {"x": 1}),
    "service_tier": _each("service_tier", "auto", "flex"),
    "top_k": _each("top_k", None, 5),
    "container": _each("container", None, "x"),
    "mcp_servers": _each("mcp_servers", None, []),
    "context_management": _each("context_management", None, {}),
}


def _messages(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


FORMS = {
    "chat": Form("/v1/chat/completions", ChatBody, lambda text: {"messages": _messages(text)}, _CHAT),
    "completions": Form("/v1/completions", CompletionsBody, lambda text: {"prompt": text}, _COMPLETIONS),
    "responses": Form("/v1/responses", ResponsesBody, lambda text: {"input": text}, _RESPONSES),
    "messages": Form(
        "/v1/messages", MessagesBody, lambda text: {"messages": _messages(text), "max_tokens": 50}, _MESSAGES
    ),
}
