"""Who keeps the key that wraps data keys: this machine, or a key service that never gives it out.

What is sealed has a data key of its own (an *envelope*). A ``KeyProvider`` wraps that key, bound to a context, and unwraps
it again. So the wrapping key can be renewed without touching what is sealed.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from watchword.errors import UnsealError
from watchword.secret.keys import derived

DATA_KEY_BYTES = 32
_NONCE_BYTES = 12


class KeyProvider(Protocol):
    """Wraps data keys. ``context`` is checked when one is unwrapped: a wrapped key that was moved does not open."""

    @property
    def name(self) -> str:
        """The kind of provider, as a wrapped key's record names it."""
        ...

    def wrap(self, data_key: bytes, context: Mapping[str, str]) -> bytes:
        """The data key, to be stored beside what it seals."""
        ...

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The data key. Raises UnsealError for another key or context, or where the provider cannot be reached."""
        ...


class LocalKeys:
    """Wraps with a key of this machine's: AES-256-GCM under one derived from the provider's key."""

    name = "local"

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(derived(key, "wrap"))

    def wrap(self, data_key: bytes, context: Mapping[str, str]) -> bytes:
        """Nonce and ciphertext."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data_key, associated(context))

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The data key; raises UnsealError where key or context is another one."""
        nonce, ciphertext = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, ciphertext, associated(context))
        except (InvalidTag, ValueError) as error:
            raise UnsealError(
                "this was sealed under another key, or belongs to something else; set WATCHWORD_KEY or WATCHWORD_KEY_FILE "
                "to the key that sealed it"
            ) from error


def associated(context: Mapping[str, str]) -> bytes:
    """The context as the associated data of AES-GCM: the same bytes whatever its order."""
    return msgspec.json.encode(dict(context), order="deterministic")
