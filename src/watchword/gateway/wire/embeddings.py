"""POST /v1/embeddings: texts or token ids in, vectors out, both written anew."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from watchword.files.decoding import DECODE_ERRORS
from watchword.gateway.call import Counts
from watchword.gateway.wire.chat.request import Name
from watchword.gateway.wire.decoding import Strict, decoded, invalid
from watchword.gateway.wire.reply import no_reply

_MOST = 2_048
_TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
# Numbers of one vector, at most.
_MOST_NUMBERS = 1 << 16
_ENCODER = msgspec.json.Encoder()


class EmbeddingsBody(Strict, kw_only=True):
    """The whole request. ``user`` goes no further."""

    model: Name
    input: str | Annotated[list[str | _TokenId | list[_TokenId]], Meta(min_length=1)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=_MOST_NUMBERS)] | None = None
    user: str | None = None


class _Vector(msgspec.Struct):
    embedding: list[float] | str
    index: int


class _Usage(msgspec.Struct):
    prompt_tokens: Annotated[int, Meta(ge=0, le=1 << 40)] = 0


class _Reply(msgspec.Struct):
    data: list[_Vector]
    usage: _Usage | None = None


_DECODER, _REPLY = msgspec.json.Decoder(EmbeddingsBody), msgspec.json.Decoder(_Reply)


def read_embeddings(data: bytes) -> EmbeddingsBody:
    """The request. Raises CallError with OpenAI's code and the field."""
    body = decoded(_DECODER, data)
    if isinstance(body.input, list):
        kinds = {type(one) for one in body.input}
        if len(kinds) > 1 or (kinds != {int} and len(body.input) > _MOST):
            raise invalid(f"Give one text, one list of token ids, or a list of at most {_MOST} of one kind.", "input")
    return body


def embeddings_body(body: EmbeddingsBody, model: str) -> bytes:
    """The request for the server: numbers as they are, which are read here whatever the tenant asked for."""
    given: dict[str, Any] = {"model": model, "input": body.input, "encoding_format": "float"}
    if body.dimensions is not None:
        given["dimensions"] = body.dimensions
    return _ENCODER.encode(given)


def embeddings_json(body: EmbeddingsBody, data: bytes) -> tuple[bytes, Counts]:
    """The reply for the tenant, and what it cost. Raises CallError for what is no such reply."""
    try:
        given = _REPLY.decode(data)
    except DECODE_ERRORS:
        raise no_reply() from None
    vectors = {vector.index: _numbers(vector.embedding) for vector in given.data}
    if len(given.data) != len(vectors) or sorted(vectors) != list(range(_texts(body))):
        raise no_reply()
    counts = Counts((given.usage or _Usage()).prompt_tokens, 0)
    written = [
        {"object": "embedding", "index": at, "embedding": _written(vectors[at], body.encoding_format)}
        for at in range(len(vectors))
    ]
    usage = {"prompt_tokens": counts.prompt, "total_tokens": counts.prompt}
    return _ENCODER.encode({"object": "list", "data": written, "model": body.model, "usage": usage}), counts


def _texts(body: EmbeddingsBody) -> int:
    """How many vectors are asked for: a list of numbers is one text."""
    return len(body.input) if isinstance(body.input, list) and not isinstance(body.input[0], int) else 1


def _numbers(given: Sequence[float] | str) -> Sequence[float]:
    """A vector's numbers. Raises CallError for what is none, or too many."""
    if isinstance(given, str):
        try:
            data = base64.b64decode(given, validate=True)
            given = struct.unpack(f"<{len(data) // 4}f", data)
        except (binascii.Error, ValueError, struct.error):
            raise no_reply() from None
    if not 0 < len(given) <= _MOST_NUMBERS or not all(map(math.isfinite, given)):
        raise no_reply()
    return given


def _written(vector: Sequence[float], encoding_format: str | None) -> list[float] | str:
    if encoding_format != "base64":
        return list(vector)
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except OverflowError:
        raise no_reply() from None
