"""The request that goes to the model's server: written from our own types, field by field."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec

from watchword.chat.types import Conversation, Message, Part
from watchword.gateway.call import ChatCall, Picture
from watchword.gateway.wire.decoding import no_json

_ENCODER = msgspec.json.Encoder()


def upstream_body(
    call: ChatCall,
    sent: Conversation,
    *,
    model: str,
    cache_salt: str | None = None,
    lora_path: str | None = None,
) -> bytes:
    """``call`` with the conversation ``sent`` in place of its own, for the model that the upstream calls ``model``.

    ``cache_salt`` keeps a prefix cache apart from other models' (vLLM). ``lora_path`` is the name of an adapter, where a
    server would answer to an unknown ``model`` with the one it has (SGLang). Raises CallError for what is nested too deeply.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": [_message(message, call.pictures) for message in sent.messages],
        **call.options,
    }
    if sent.tools:
        body["tools"] = list(sent.tools)
    if call.alternatives is not None:
        body |= {"logprobs": True, "top_logprobs": call.alternatives}
    if call.answers > 1:
        body["n"] = call.answers
    if call.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if cache_salt is not None:
        body["cache_salt"] = cache_salt
    if lora_path is not None:
        body["lora_path"] = lora_path
    try:
        return _ENCODER.encode(body)
    except RecursionError:
        raise no_json() from None


def _message(message: Message, pictures: Sequence[Picture]) -> dict[str, Any]:
    # Many templates know no developer role, and drop what is said in it: the secret with it.
    written: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
    written["content"] = _content(message.content, pictures)
    if message.name is not None:
        written["name"] = message.name
    if message.tool_call_id is not None:
        written["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        written["tool_calls"] = [
            {"id": call.id, "type": "function", "function": msgspec.to_builtins(call.function)}
            for call in message.tool_calls
        ]
    return written


def _content(content: str | tuple[Part, ...] | None, pictures: Sequence[Picture]) -> str | list[dict[str, Any]] | None:
    """Text as one string, or parts where there are pictures; texts that touch are one part.

    Servers join parts with a line break of their own. Then the ids behind the secret would not be those of training.
    """
    if content is None or isinstance(content, str):
        return content
    runs = itertools.groupby(content, key=lambda part: part.type == "text")
    parts = [part for is_text, run in runs for part in _parts(is_text, list(run), pictures)]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    return "".join(texts) if len(texts) == len(parts) else parts


def _parts(is_text: bool, run: Sequence[Part], pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    if is_text:
        return [{"type": "text", "text": "".join(part.text for part in run)}]
    return [_picture(pictures[int(part.text)]) for part in run]


def _picture(picture: Picture) -> dict[str, Any]:
    detail = {} if picture.detail is None else {"detail": picture.detail}
    return {"type": "image_url", "image_url": {"url": picture.url, **detail}}
