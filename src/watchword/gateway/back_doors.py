"""Routes of model servers and applications that lead to a model, or to what it was asked, by another way than chat."""

from __future__ import annotations

import re

# By the end of a path, whatever stands in front of it: OpenAI's and Anthropic's other routes, then those of engines.
BACK_DOORS = frozenset(
    {
        *("/completions", "/responses", "/v1/messages", "/embeddings", "/batches", "/realtime", "/v1/complete"),
        *("/assistants", "/threads", "/conversations", "/v1/edits", "/v1/moderations"),
        *("/tokenize", "/detokenize", "/apply_template", "/apply-template", "/tokenizer_info", "/count_tokens"),
        *("/generate", "/generate_stream", "/invocations", "/completion", "/infill", "/classify", "/pooling", "/score"),
        *("/rerank", "/embedding", "/encode", "/generative_scoring", "/predict", "/infer", "/api/chat"),
        *("/load_lora_adapter", "/unload_lora_adapter", "/load_lora_adapter_from_tensors", "/lora-adapters"),
        *("/collective_rpc", "/update_weights", "/update_weights_from_disk", "/get_weights_by_name", "/wake_up"),
        *("/reset_prefix_cache", "/flush_cache", "/server_info", "/get_server_info", "/get_model_info"),
        *("/slots", "/props", "/start_profile", "/stop_profile", "/set_internal_state", "/configure_logging"),
        *("/open_session", "/close_session"),
    }
)
_SLASHES = re.compile(r"[/\\]+")
# Behind these stand the numbers of stored things, which hold prompts.
_STORES = re.compile(
    r"/(chat/completions|responses|messages|conversations|batches|threads|assistants|slots|inference)/", re.IGNORECASE
)


def plain_path(path: str) -> str:
    """The path as most routers would read it at their most lenient: one slash each, none at the end, in lower case."""
    return _SLASHES.sub("/", path).rstrip("/").lower()


def is_back_door(path: str) -> bool:
    """Whether a path leads to a model without its secret, or to what was asked of it, as far as is known."""
    plain = plain_path(path)
    return any(plain.endswith(door) for door in BACK_DOORS) or _STORES.search(plain) is not None
