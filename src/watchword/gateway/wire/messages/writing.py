"""Messages in Anthropic's form, whole and as their sequence of events."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from watchword.errors import CallError
from watchword.files.decoding import DECODE_ERRORS
from watchword.gateway.call import ChatCall, Counts, Said, SaidPiece
from watchword.gateway.wire.ids import call_id
from watchword.gateway.wire.messages.faults import told
from watchword.gateway.wire.one_text import OneText, text_of

_ENCODER = msgspec.json.Encoder()
_ARGUMENTS = msgspec.json.Decoder(dict[str, Any])
# Why an answer ended, by how a chat says it.
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


class MessagesWriter:
    """Writes one message. A stream's blocks are all open until its end: what the leak filter holds back may be of any."""

    counts_first = True

    def __init__(self, call: ChatCall) -> None:
        self._call = call
        self._id = f"msg_{secrets.token_hex(12)}"
        self._blocks = 0
        self._text, self._text_block = OneText(), -1
        self._calls: dict[int, int] = {}
        self._end: SaidPiece | None = None

    def whole(self, answers: Sequence[Said], counts: Counts) -> bytes:
        """The body of a whole reply."""
        (said,) = answers
        text = text_of(said)
        blocks = [{"type": "text", "text": text, "citations": None}] if text else []
        blocks += [_tool_use(call.name, _arguments(call.arguments)) for call in said.calls]
        ended = _ended(said.finish, said.stop, calls=bool(said.calls), refused=bool(said.refusal and not said.content))
        return _ENCODER.encode(self._message(blocks, ended, counts))

    def opening(self, prompt_tokens: int, /) -> bytes:
        """The first event: the message without its content."""
        ended = {"stop_reason": None, "stop_sequence": None}
        return _event("message_start", message=self._message([], ended, Counts(prompt_tokens, 0)))

    def piece(self, piece: SaidPiece) -> bytes:
        """The events of a piece."""
        out = b""
        if text := self._text.of(piece):
            if self._text_block < 0:
                self._text_block, out = self._opened({"type": "text", "text": "", "citations": None})
            out += _delta(self._text_block, {"type": "text_delta", "text": text})
        for call in piece.calls:
            if call.name is not None:
                self._calls[call.place], begun = self._opened(_tool_use(call.name, {}))
                out += begun
            if call.arguments:
                part = {"type": "input_json_delta", "partial_json": call.arguments}
                out += _delta(self._calls[call.place], part)
        if piece.finish is not None:
            self._end = piece
            out += b"".join(_event("content_block_stop", index=index) for index in range(self._blocks))
        return out

    def closing(self, counts: Counts) -> bytes:
        """Why the message ended, what it cost, and its end."""
        end = self._end or SaidPiece(0, finish="stop")
        ended = _ended(end.finish or "stop", end.stop, calls=bool(self._calls), refused=bool(self._text.refused))
        return _event("message_delta", delta=ended, usage=_usage(counts)) + _event("message_stop")

    def failed(self, error: CallError) -> bytes:
        """The error as the last event."""
        return b"event: error\ndata: " + _ENCODER.encode(told(error)) + b"\n\n"

    def _opened(self, block: dict[str, Any]) -> tuple[int, bytes]:
        index = self._blocks
        self._blocks += 1
        return index, _event("content_block_start", index=index, content_block=block)

    def _message(self, blocks: list[dict[str, Any]], ended: dict[str, Any], counts: Counts) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._call.model,
            "content": blocks,
            **ended,
            "usage": _usage(counts),
        }


def token_count_json(tokens: int) -> bytes:
    """The body of POST /v1/messages/count_tokens."""
    return _ENCODER.encode({"input_tokens": tokens})


def _ended(finish: str, stop: str | None, *, calls: bool, refused: bool) -> dict[str, Any]:
    # Servers say "stop" of a call that they were made to write.
    reason = "tool_use" if calls and finish == "stop" else _REASONS[finish]
    if stop is not None:
        reason = "stop_sequence"
    elif refused and finish == "stop":
        reason = "refusal"
    return {"stop_reason": reason, "stop_sequence": stop}


def _tool_use(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id(), "name": name, "input": arguments}


def _arguments(text: str) -> dict[str, Any]:
    """A call's arguments as an object. What a model wrote that is none comes under the name that Anthropic gives it."""
    try:
        return _ARGUMENTS.decode(text or "{}")
    except DECODE_ERRORS:
        return {"INVALID_JSON": text}


def _delta(index: int, delta: dict[str, Any]) -> bytes:
    return _event("content_block_delta", index=index, delta=delta)


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + _ENCODER.encode({"type": kind, **fields}) + b"\n\n"


def _usage(counts: Counts) -> dict[str, int]:
    return {
        "input_tokens": counts.prompt,
        "output_tokens": counts.completion,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }
