"""Replies for tenants: every field is our own or went through the leak filter."""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from watchword.gateway.call import Counts, Said, SaidPiece
from watchword.gateway.randomness import random_hex

_ENCODER = msgspec.json.Encoder()
# Mistral's templates take ids of exactly nine letters and digits; the others take any.
_ID_CHARACTERS, _ID_LENGTH = string.ascii_letters + string.digits, 9
DONE = b"data: [DONE]\n\n"


def call_id() -> str:
    """A new id for a tool call."""
    return "".join(secrets.choice(_ID_CHARACTERS) for _ in range(_ID_LENGTH))


class Envelope:
    """What all parts of one reply share: its id, its time, and the tenant's name of the model."""

    def __init__(self, model: str) -> None:
        self._id, self._created, self._model = f"chatcmpl-{random_hex()}", int(time.time()), model

    def whole(self, answers: Sequence[Said], counts: Counts) -> bytes:
        """The body of a whole reply."""
        choices = [_choice(place, said) for place, said in enumerate(answers)]
        return _ENCODER.encode(self._of("chat.completion", choices, {"usage": _usage(counts)}))

    def opening(self, place: int) -> bytes:
        """The first event of an answer."""
        return self._event([_delta(place, {"role": "assistant", "content": "", "refusal": None})])

    def piece(self, piece: SaidPiece, ids: Sequence[str | None]) -> bytes:
        """The event of a piece. ``ids`` are those of the tool calls that begin in it, None for one that goes on."""
        words: dict[str, Any] = {"content": piece.content} if piece.content else {}
        if piece.refusal:
            words["refusal"] = piece.refusal
        if piece.calls:
            words["tool_calls"] = [
                _call_delta(call.place, name, call.name, call.arguments)
                for call, name in zip(piece.calls, ids, strict=True)
            ]
        return self._event([_delta(piece.place, words, piece.finish)])

    def usage(self, counts: Counts) -> bytes:
        """The last event, for those who asked for usage."""
        return self._event([], {"usage": _usage(counts)})

    def _event(self, choices: list[dict[str, Any]], more: dict[str, Any] | None = None) -> bytes:
        return b"data: " + _ENCODER.encode(self._of("chat.completion.chunk", choices, more or {})) + b"\n\n"

    def _of(self, kind: str, choices: list[dict[str, Any]], more: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            "choices": choices,
            **more,
        }


def models_json(names: Sequence[str]) -> bytes:
    """The body of GET /v1/models."""
    return _ENCODER.encode({"object": "list", "data": [_model(name) for name in names]})


def model_json(name: str) -> bytes:
    """The body of GET /v1/models/NAME."""
    return _ENCODER.encode(_model(name))


def health_json(models: int, unavailable: int) -> bytes:
    """The body of GET /health."""
    status = "ok" if not unavailable else "degraded"
    return _ENCODER.encode({"status": status, "models": models, "unavailable": unavailable})


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "provider"}


def _choice(place: int, said: Said) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.content, "refusal": said.refusal}
    if said.calls:
        message["tool_calls"] = [
            {"id": call_id(), "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in said.calls
        ]
    return {"index": place, "message": message, "logprobs": None, "finish_reason": said.finish}


def _delta(place: int, words: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": place, "delta": words, "logprobs": None, "finish_reason": finish}


def _call_delta(place: int, new_id: str | None, name: str | None, arguments: str) -> dict[str, Any]:
    if new_id is None:
        return {"index": place, "function": {"arguments": arguments}}
    return {"index": place, "id": new_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _usage(counts: Counts) -> dict[str, int]:
    return {
        "prompt_tokens": counts.prompt,
        "completion_tokens": counts.completion,
        "total_tokens": counts.prompt + counts.completion,
    }
