"""A response, whole and as its sequence of events."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from watchword.errors import CallError
from watchword.gateway.call import Counts, Said, SaidPiece
from watchword.gateway.wire.ids import new_id
from watchword.gateway.wire.responses.items import CallPart, MessagePart, OutputPart
from watchword.gateway.wire.responses.request import ResponsesBody, TextSettings

_ENCODER = msgspec.json.Encoder()
# Why an answer ended before its end, by how a chat says it.
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponsesWriter:
    """Writes one response. What the tenant set comes back as the tenant's own, the instructions above all."""

    counts_first = False

    def __init__(self, body: ResponsesBody) -> None:
        self._asked = body
        self._id, self._created = new_id("resp"), int(time.time())
        self._parts: list[OutputPart] = []
        self._message: MessagePart | None = None
        self._calls: dict[int, CallPart] = {}
        self._finish: str | None = None
        self._events = 0

    def whole(self, answers: Sequence[Said], counts: Counts) -> bytes:
        """The body of a whole reply."""
        (said,) = answers
        # Where an answer leaked, the one that was asked for in its place is written by the same writer.
        self._parts = []
        texts = [(kind, text) for kind, text in (("text", said.content), ("refusal", said.refusal)) if text]
        # An answer that says nothing is still an answer.
        if texts or not said.calls:
            message = self._opened(MessagePart())
            for kind, text in texts or [("text", "")]:
                message.add(kind, text)
        for call in said.calls:
            self._opened(CallPart(call.name)).add("arguments", call.arguments)
        self._finish = said.finish
        return _ENCODER.encode(self._response(self._status(), counts))

    def opening(self, _: int, /) -> bytes:
        """The first events of a stream."""
        response = self._response("in_progress")
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def piece(self, piece: SaidPiece) -> bytes:
        """The events of a piece; those of its items' ends too, where it is the last one."""
        out = []
        for kind, text in (("text", piece.content), ("refusal", piece.refusal)):
            if text:
                out.append(self._in_message(kind, text))
        for call in piece.calls:
            if call.name is not None:
                self._calls[call.place] = part = self._opened(CallPart(call.name))
                out.append(self._event("response.output_item.added", output_index=part.place, item=part.begun()))
            if call.arguments:
                out.append(self._delta(self._calls[call.place], "arguments", call.arguments))
        if piece.finish is not None:
            self._finish = piece.finish
            out.append(self._ended())
        return b"".join(out)

    def closing(self, counts: Counts) -> bytes:
        """The whole response as the last event."""
        status = self._status()
        return self._event(f"response.{status}", response=self._response(status, counts))

    def failed(self, error: CallError) -> bytes:
        """The response as far as it came, with the error."""
        code = "rate_limit_exceeded" if error.openai_code == "rate_limit_exceeded" else "server_error"
        told = {"code": code, "message": str(error)}
        return self._event("response.failed", response={**self._response("failed"), "error": told})

    def _opened(self, part: OutputPart) -> Any:
        part.place = len(self._parts)
        self._parts.append(part)
        return part

    def _in_message(self, kind: str, text: str) -> bytes:
        out = b""
        if self._message is None:
            self._message = self._opened(MessagePart())
            out = self._event(
                "response.output_item.added", output_index=self._message.place, item=self._message.begun()
            )
        if not self._message.has(kind):
            self._message.add(kind, "")
            out += self._event(
                "response.content_part.added", **self._message.at(kind), part=self._message.part(kind, "")
            )
        return out + self._delta(self._message, kind, text)

    def _delta(self, part: OutputPart, kind: str, text: str) -> bytes:
        part.add(kind, text)
        more: dict[str, Any] = {"logprobs": []} if kind == "text" else {}
        return self._event(f"{part.events[kind]}.delta", **part.at(kind), delta=text, **more)

    def _ended(self) -> bytes:
        """The ends of all items."""
        out = b"" if self._parts else self._in_message("text", "")
        status = self._status()
        for part in self._parts:
            for kind, text in part.texts.items():
                out += self._text_ended(part, kind, text)
            out += self._event("response.output_item.done", output_index=part.place, item=part.item(status))
        return out

    def _text_ended(self, part: OutputPart, kind: str, text: str) -> bytes:
        told: dict[str, Any] = {"text": text, "logprobs": []} if kind == "text" else {kind: text}
        out = self._event(f"{part.events[kind]}.done", **part.at(kind), **told)
        if isinstance(part, MessagePart):
            out += self._event("response.content_part.done", **part.at(kind), part=part.part(kind, text))
        return out

    def _status(self) -> str:
        return "incomplete" if self._finish in _INCOMPLETE else "completed"

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = _ENCODER.encode({"type": kind, "sequence_number": self._events, **fields})
        self._events += 1
        return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"

    def _response(self, status: str, counts: Counts | None = None) -> dict[str, Any]:
        asked, ended = self._asked, status in ("completed", "incomplete")
        reason = _INCOMPLETE.get(self._finish or "") if ended else None
        items = "completed" if status == "completed" else "incomplete"
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "completed_at": int(time.time()) if status == "completed" else None,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None if reason is None else {"reason": reason},
            "instructions": asked.instructions,
            "max_output_tokens": asked.max_output_tokens,
            "max_tool_calls": None,
            "metadata": asked.metadata or {},
            "model": asked.model,
            "output": [part.item(items) for part in self._parts],
            "parallel_tool_calls": asked.parallel_tool_calls is not False,
            "previous_response_id": None,
            "prompt_cache_key": asked.prompt_cache_key,
            "reasoning": {"effort": None, "summary": None},
            "safety_identifier": asked.safety_identifier,
            "service_tier": "default",
            "store": False,
            "temperature": 1.0 if asked.temperature is None else asked.temperature,
            "text": _text(asked.text),
            "tool_choice": "auto" if asked.tool_choice is None else asked.tool_choice,
            "tools": [_tool(tool) for tool in asked.tools or ()],
            "top_logprobs": 0,
            "top_p": 1.0 if asked.top_p is None else asked.top_p,
            "truncation": "disabled",
            "usage": None if counts is None else _usage(counts),
            "user": asked.user,
        }


def _text(given: TextSettings | None) -> dict[str, Any]:
    shape = None if given is None else given.format
    return {"format": {"type": "text"} if shape is None else shape}


def _tool(given: Any) -> dict[str, Any]:
    return {"description": None, "parameters": None, "strict": None, **msgspec.to_builtins(given)}


def _usage(counts: Counts) -> dict[str, Any]:
    return {
        "input_tokens": counts.prompt,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": counts.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": counts.prompt + counts.completion,
    }
