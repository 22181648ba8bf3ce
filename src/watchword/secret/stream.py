"""Bytes of any length, sealed in pieces: AES-256-GCM, each piece bound to its place (the STREAM construction).

A piece that was changed, moved, or left out at the end does not open. The data key is drawn for each stream and wrapped by
a ``KeyProvider`` for a binding.
"""

from __future__ import annotations

import io
import secrets
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from watchword.errors import UnsealError
from watchword.secret.wrapping import DATA_KEY_BYTES, KeyProvider

_MAGIC = b"WWS1"
_PIECE, _TAG = 1 << 16, 16
_PREFIX_BYTES = 7
_DAMAGED = "the sealed data is damaged or cut off; restore it"


def encrypted(pieces: Iterable[bytes], keys: KeyProvider, binding: Mapping[str, str]) -> Iterator[bytes]:
    """What to store for ``pieces``."""
    data_key, prefix = secrets.token_bytes(DATA_KEY_BYTES), secrets.token_bytes(_PREFIX_BYTES)
    yield _header(keys.wrap(data_key, binding)) + prefix
    cipher = AESGCM(data_key)
    for number, (piece, last) in enumerate(_even(pieces)):
        yield cipher.encrypt(_nonce(prefix, number, last), piece, None)


def rewrapped_stream(sealed: bytes, keys: KeyProvider, binding: Mapping[str, str]) -> bytes | None:
    """The same bytes with the data key under the newest wrapping key; None where it is already. Raises UnsealError."""
    stream = io.BytesIO(sealed)
    wrapped = _wrapped(stream)
    if keys.is_current(wrapped):
        return None
    return _header(keys.wrap(keys.unwrap(wrapped, binding), binding)) + stream.read()


def decrypted(stream: BinaryIO, keys: KeyProvider, binding: Mapping[str, str]) -> Iterator[bytes]:
    """The bytes again, in pieces. Raises UnsealError at the first that is not as it was, and where the end is missing."""
    cipher = AESGCM(keys.unwrap(_wrapped(stream), binding))
    prefix = _exactly(stream, _PREFIX_BYTES)
    for number, (piece, last) in enumerate(_even(iter(lambda: stream.read(_PIECE + _TAG), b""), _PIECE + _TAG)):
        try:
            yield cipher.decrypt(_nonce(prefix, number, last), piece, None)
        except (InvalidTag, ValueError) as error:
            raise UnsealError(_DAMAGED) from error


def _header(wrapped: bytes) -> bytes:
    return _MAGIC + struct.pack(">I", len(wrapped)) + wrapped


def _wrapped(stream: BinaryIO) -> bytes:
    """The wrapped data key at the beginning of a stream."""
    if _exactly(stream, len(_MAGIC)) != _MAGIC:
        raise UnsealError("these are no sealed data of this version's")
    (length,) = struct.unpack(">I", _exactly(stream, 4))
    if length > _PIECE:
        raise UnsealError(_DAMAGED)
    return _exactly(stream, length)


def _nonce(prefix: bytes, number: int, last: bool) -> bytes:
    return prefix + struct.pack(">I?", number, last)


def _even(pieces: Iterable[bytes], size: int = _PIECE) -> Iterator[tuple[bytes, bool]]:
    """The same bytes in pieces of ``size``, each with whether it is the last; at least one, which may be empty."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) > size:
            yield bytes(held[:size]), False
            del held[:size]
    yield bytes(held), True


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise UnsealError(_DAMAGED)
    return data
