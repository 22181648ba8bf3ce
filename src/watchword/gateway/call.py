"""A tenant's request and a model's reply as the gateway's own types: no wire format reaches further in than ``wire``.

They are made for each call and each event of a stream: msgspec makes them several times as fast as dataclasses are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from watchword.chat.types import Conversation, FunctionCall

# What a part of a message is called whose text is the number of a picture among the request's.
PICTURE = "image_url"


class Picture(msgspec.Struct, frozen=True):
    """A picture in a message. ``detail`` is how closely the model is to look."""

    url: str
    detail: str | None = None


class ChatCall(msgspec.Struct, frozen=True):
    """One request for answers. ``options`` are the settings that go to the model's server as they are.

    ``alternatives`` is how many other tokens are shown beside each one that was said, with their probabilities. None is
    for no probabilities at all. A part of type ``image_url`` in the conversation holds the place of its picture in ``pictures``.
    """

    model: str
    conversation: Conversation
    pictures: tuple[Picture, ...] = ()
    options: Mapping[str, Any] = msgspec.field(default_factory=dict)
    answers: int = 1
    stream: bool = False
    include_usage: bool = False
    alternatives: int | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end an answer."""
        given = self.options.get("stop") or ()
        return (given,) if isinstance(given, str) else tuple(given)


class Counts(msgspec.Struct, frozen=True):
    """Tokens of the request and of all answers to it."""

    prompt: int
    completion: int


class Chance(msgspec.Struct, frozen=True):
    """A token, and the logarithm of its probability."""

    token: str
    logprob: float


class TokenChances(msgspec.Struct, frozen=True):
    """The token that was said at one place, and the likeliest ones there."""

    said: Chance
    top: tuple[Chance, ...] = ()


class Said(msgspec.Struct, frozen=True):
    """One whole answer. ``stop`` is the tenant's own text that ended it, where the server tells; ``chances`` as asked for."""

    content: str | None
    refusal: str | None = None
    calls: tuple[FunctionCall, ...] = ()
    finish: str = "stop"
    stop: str | None = None
    chances: tuple[TokenChances, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text that a model wrote."""
        calls = (text for call in self.calls for text in (call.name, call.arguments))
        return (self.content or "", self.refusal or "", *calls)


class Reply(msgspec.Struct, frozen=True):
    """All answers to a request, in order. ``counts`` are the upstream's own, None where it gave none that make sense."""

    answers: tuple[Said, ...]
    counts: Counts | None = None


class CallPiece(msgspec.Struct, frozen=True):
    """A piece of the tool call number ``place``. Only the first one has a ``name``."""

    place: int
    name: str | None = None
    arguments: str = ""


class SaidPiece(msgspec.Struct, frozen=True):
    """A piece of the answer number ``place``; ``finish`` stands in its last one, and ``stop`` as in ``Said``."""

    place: int
    content: str = ""
    refusal: str = ""
    calls: tuple[CallPiece, ...] = ()
    finish: str | None = None
    stop: str | None = None
    chances: tuple[TokenChances, ...] = ()


class StreamEvent(msgspec.Struct, frozen=True):
    """What one event of a stream brings."""

    pieces: tuple[SaidPiece, ...] = ()
    counts: Counts | None = None
