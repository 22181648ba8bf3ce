"""Replies of a chat, whole and as events."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from watchword.errors import CallError
from watchword.gateway.call import Chance, ChatCall, Counts, Said, SaidPiece, TokenChances
from watchword.gateway.randomness import random_hex
from watchword.gateway.wire.faults import fault_event
from watchword.gateway.wire.ids import call_id

ENCODER = msgspec.json.Encoder()
DONE = b"data: [DONE]\n\n"


class ChatWriter:
    """All parts of one reply share its id, its time, and the tenant's name of the model."""

    counts_first = False

    def __init__(self, call: ChatCall) -> None:
        self._call = call
        self._id, self._created = f"chatcmpl-{random_hex()}", int(time.time())

    def whole(self, answers: Sequence[Said], counts: Counts) -> bytes:
        """The body of a whole reply."""
        choices = [_choice(place, said) for place, said in enumerate(answers)]
        return ENCODER.encode(self._of("chat.completion", choices, {"usage": usage_of(counts)}))

    def opening(self, _: int, /) -> bytes:
        """The first event of each answer."""
        words = {"role": "assistant", "content": "", "refusal": None}
        return b"".join(self._event([_delta(place, words)]) for place in range(self._call.answers))

    def piece(self, piece: SaidPiece) -> bytes:
        """The event of a piece."""
        words: dict[str, Any] = {"content": piece.content} if piece.content else {}
        if piece.refusal:
            words["refusal"] = piece.refusal
        if piece.calls:
            words["tool_calls"] = [_call_delta(call.place, call.name, call.arguments) for call in piece.calls]
        return self._event([_delta(piece.place, words, piece.finish, piece.chances)])

    def closing(self, counts: Counts) -> bytes:
        """Usage for those who asked for it, and the end."""
        usage = self._event([], {"usage": usage_of(counts)}) if self._call.include_usage else b""
        return usage + DONE

    def failed(self, error: CallError) -> bytes:
        """The error as the last event."""
        return fault_event(error)

    def _event(self, choices: list[dict[str, Any]], more: dict[str, Any] | None = None) -> bytes:
        return b"data: " + ENCODER.encode(self._of("chat.completion.chunk", choices, more or {})) + b"\n\n"

    def _of(self, kind: str, choices: list[dict[str, Any]], more: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._call.model,
            "choices": choices,
            **more,
        }


def usage_of(counts: Counts) -> dict[str, int]:
    """Usage as OpenAI's two older forms write it."""
    return {
        "prompt_tokens": counts.prompt,
        "completion_tokens": counts.completion,
        "total_tokens": counts.prompt + counts.completion,
    }


def _choice(place: int, said: Said) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.content, "refusal": said.refusal}
    if said.calls:
        message["tool_calls"] = [
            {"id": call_id(), "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in said.calls
        ]
    return {"index": place, "message": message, "logprobs": _logprobs(said.chances), "finish_reason": said.finish}


def _delta(
    place: int, words: dict[str, Any], finish: str | None = None, chances: Sequence[TokenChances] = ()
) -> dict[str, Any]:
    return {"index": place, "delta": words, "logprobs": _logprobs(chances), "finish_reason": finish}


def _call_delta(place: int, name: str | None, arguments: str) -> dict[str, Any]:
    if name is None:
        return {"index": place, "function": {"arguments": arguments}}
    return {"index": place, "id": call_id(), "type": "function", "function": {"name": name, "arguments": arguments}}


def _logprobs(chances: Sequence[TokenChances]) -> dict[str, Any] | None:
    if not chances:
        return None
    content = [{**_chance(one.said), "top_logprobs": [_chance(other) for other in one.top]} for one in chances]
    return {"content": content, "refusal": None}


def _chance(chance: Chance) -> dict[str, Any]:
    # A token that is a part of a character only has no text of its own, and so no bytes that we know.
    data = None if "\ufffd" in chance.token else list(chance.token.encode())
    return {"token": chance.token, "logprob": chance.logprob, "bytes": data}
