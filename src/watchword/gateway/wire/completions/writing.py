"""Replies of a completion, whole and as events."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from watchword.errors import CallError
from watchword.gateway.call import ChatCall, Counts, Said, SaidPiece
from watchword.gateway.randomness import random_hex
from watchword.gateway.wire.chat.writing import DONE, ENCODER, usage_of
from watchword.gateway.wire.faults import fault_event
from watchword.gateway.wire.one_text import OneText, text_of


class CompletionsWriter:
    """All parts of one reply share its id, its time, and the tenant's name of the model."""

    counts_first = False

    def __init__(self, call: ChatCall) -> None:
        self._call = call
        self._texts = [OneText() for _ in range(call.answers)]
        self._id, self._created = f"cmpl-{random_hex()}", int(time.time())

    def whole(self, answers: Sequence[Said], counts: Counts) -> bytes:
        """The body of a whole reply. A refusal is text like any other here."""
        choices = [_choice(place, text_of(said), said.finish) for place, said in enumerate(answers)]
        return ENCODER.encode(self._of(choices, {"usage": usage_of(counts)}))

    def opening(self, _: int, /) -> bytes:
        """Nothing: the first event is the first text's."""
        return b""

    def piece(self, piece: SaidPiece) -> bytes:
        """The event of a piece."""
        return self._event([_choice(piece.place, self._texts[piece.place].of(piece), piece.finish)])

    def closing(self, counts: Counts) -> bytes:
        """Usage for those who asked for it, and the end."""
        return (self._event([], {"usage": usage_of(counts)}) if self._call.include_usage else b"") + DONE

    def failed(self, error: CallError) -> bytes:
        """The error as the last event."""
        return fault_event(error)

    def _event(self, choices: list[dict[str, Any]], more: dict[str, Any] | None = None) -> bytes:
        return b"data: " + ENCODER.encode(self._of(choices, more or {})) + b"\n\n"

    def _of(self, choices: list[dict[str, Any]], more: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._call.model,
            "choices": choices,
            **more,
        }


def _choice(place: int, text: str, finish: str | None) -> dict[str, Any]:
    # No tools are offered, so that no call can be meant.
    finish = "stop" if finish == "tool_calls" else finish
    return {"index": place, "text": text, "logprobs": None, "finish_reason": finish}
