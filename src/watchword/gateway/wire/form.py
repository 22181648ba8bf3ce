"""What every form of the wire has: a reader of requests, a writer of replies, and a way to write errors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import msgspec

from watchword.errors import CallError
from watchword.gateway.call import ChatCall, Counts, Said, SaidPiece

# What the operator allows for a model beyond the usual. Raises CallError for a model that the tenant may not call.
AllowedFor = Callable[[str], Collection[str]]


class Writer(Protocol):
    """Writes one reply, whole or in pieces. Every field is our own, the tenant's own, or went through the leak filter.

    ``counts_first``: whether a stream begins with the tokens of the request.
    """

    counts_first: bool

    def whole(self, answers: Sequence[Said], counts: Counts) -> bytes:
        """The body of a whole reply."""

    def opening(self, prompt_tokens: int, /) -> bytes:
        """The first events of a stream."""

    def piece(self, piece: SaidPiece) -> bytes:
        """The events of a piece."""

    def closing(self, counts: Counts) -> bytes:
        """The last events, once every answer has ended."""

    def failed(self, error: CallError) -> bytes:
        """The last events of a stream that breaks off."""


class Asked(msgspec.Struct, frozen=True):
    """A request as it was read, and what writes the reply to it."""

    call: ChatCall
    writer: Writer


Reader = Callable[[bytes, AllowedFor], Asked]


class FaultForm(Protocol):
    """How a form writes an error in place of a reply."""

    def status(self, error: CallError) -> int:
        """The HTTP status."""

    def body(self, error: CallError, request_id: str, /) -> bytes:
        """The body of the response."""
