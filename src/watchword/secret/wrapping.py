"""Who keeps the key that wraps data keys: this machine, or a key service that never gives it out.

What is sealed has a data key of its own (an *envelope*). A ``KeyProvider`` wraps that key, bound to a context, and unwraps
it again. So the wrapping key can be renewed without touching what is sealed.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from watchword.errors import SecretError, UnsealError
from watchword.secret.keys import KEY_BYTES, derived

DATA_KEY_BYTES = 32
# The wrapping key that is derived from the provider's key, until there is another.
FIRST = "0"
_NONCE_BYTES = 12
_ID = re.compile(r"[0-9a-zA-Z]{1,16}")
_BY_OTHERS = re.compile(rb"([a-z]{1,16})\|")


class KeyProvider(Protocol):
    """Wraps data keys. ``context`` is checked when one is unwrapped: a wrapped key that was moved does not open."""

    @property
    def name(self) -> str:
        """The kind of provider, as what is sealed names it."""
        ...

    def wrap(self, data_key: bytes, context: Mapping[str, str]) -> bytes:
        """The data key, to be stored beside what it seals. Raises SecretError where the provider cannot be reached."""
        ...

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The data key. Raises UnsealError for another key or context, and KeyServiceError where nobody can be reached."""
        ...

    def is_current(self, wrapped: bytes) -> bool:
        """Whether this was wrapped under the newest wrapping key."""
        ...


# Wrapping keys by their ids, the newest first.
Ring = Mapping[str, bytes]


class LocalKeys:
    """Wraps with a key of this machine's: AES-256-GCM under the newest of a ring; older ones open what they wrapped.

    ``ring`` is asked again when an unknown key is met, so that a running process learns of a key that was added.
    """

    name = "local"

    def __init__(self, ring: bytes | Callable[[], Ring]) -> None:
        self._read = ring if callable(ring) else lambda: {FIRST: derived(ring, "wrap")}
        self._ring = dict(self._read())

    def wrap(self, data_key: bytes, context: Mapping[str, str]) -> bytes:
        """The wrapping key's id, nonce and ciphertext."""
        self._ring = dict(self._read())
        newest, key = next(iter(self._ring.items()))
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return newest.encode() + b":" + nonce + AESGCM(key).encrypt(nonce, data_key, associated(context))

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The data key; raises UnsealError where key or context is another one."""
        if (name := _told_apart(wrapped)[0]) != self.name:
            raise _not_configured(name, self.name)
        named, _, sealed = wrapped.partition(b":")
        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return AESGCM(self._key(named)).decrypt(nonce, ciphertext, associated(context))
        except (InvalidTag, ValueError) as error:
            raise UnsealError(
                "this does not open with this provider's key: it was sealed under another one, or belongs to something else; "
                "set WATCHWORD_KEY or WATCHWORD_KEY_FILE to the key that sealed it"
            ) from error

    def is_current(self, wrapped: bytes) -> bool:
        """Whether the newest key of the ring wrapped it."""
        self._ring = dict(self._read())
        return wrapped.partition(b":")[0] == next(iter(self._ring)).encode()

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process, to which only a pipe may carry it: the ring as it is now."""
        return _with_ring, (self._ring,)

    def _key(self, named: bytes) -> bytes:
        wanted = named.decode("ascii", "replace")
        if wanted not in self._ring:
            self._ring = dict(self._read())
        if wanted not in self._ring:
            shown = wanted if _ID.fullmatch(wanted) else "unknown"
            raise UnsealError(
                f"the wrapping key {shown!r} that sealed this is not in this provider's ring; restore the key file from its backup"
            )
        return self._ring[wanted]


def _with_ring(ring: Ring) -> LocalKeys:
    return LocalKeys(lambda: ring)


class Providers:
    """Several providers as one: the first wraps, and each opens what it has wrapped. So one can take over from another.

    What another than this machine wrapped begins with that provider's name.
    """

    def __init__(self, first: KeyProvider, *others: KeyProvider) -> None:
        self._first, self._by_name = first, {provider.name: provider for provider in (*others, first)}

    @property
    def name(self) -> str:
        """That of the first."""
        return self._first.name

    def wrap(self, data_key: bytes, context: Mapping[str, str]) -> bytes:
        """By the first."""
        wrapped = self._first.wrap(data_key, context)
        return wrapped if self.name == LocalKeys.name else self.name.encode() + b"|" + wrapped

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """By whoever wrapped it. Raises UnsealError where that one is not configured."""
        name, inner = _told_apart(wrapped)
        if name not in self._by_name:
            raise _not_configured(name, self.name)
        return self._by_name[name].unwrap(inner, context)

    def is_current(self, wrapped: bytes) -> bool:
        """Whether the first wrapped it, with its newest key."""
        name, inner = _told_apart(wrapped)
        return name == self.name and self._first.is_current(inner)


class ProviderKey(bytes):
    """The provider's key, together with who wraps data keys: goes wherever the key alone goes, and is never shown."""

    wrapping: KeyProvider

    def __new__(cls, key: bytes, wrapping: KeyProvider | None = None) -> ProviderKey:
        """``key`` is 32 bytes; without ``wrapping`` it is this machine that wraps."""
        if len(key) != KEY_BYTES:
            raise SecretError(f"the provider's key has {len(key)} bytes, and must have {KEY_BYTES}")
        made = super().__new__(cls, key)
        made.wrapping = wrapping or LocalKeys(bytes(key))
        return made

    def __repr__(self) -> str:
        return "ProviderKey(masked)"

    __str__ = __repr__


def wrapping_of(key: bytes) -> KeyProvider:
    """Who wraps data keys for the holder of this key."""
    return key.wrapping if isinstance(key, ProviderKey) else LocalKeys(key)


def _told_apart(wrapped: bytes) -> tuple[str, bytes]:
    """The name of whoever wrapped it, and what that one gave."""
    found = _BY_OTHERS.match(wrapped)
    return (found[1].decode(), wrapped[found.end() :]) if found else (LocalKeys.name, wrapped)


def _not_configured(name: str, configured: str) -> UnsealError:
    return UnsealError(
        f"this was sealed with the key provider {name!r}, and {configured!r} is configured; configure the one that sealed it"
    )


def associated(context: Mapping[str, str]) -> bytes:
    """The context as the associated data of AES-GCM: the same bytes whatever its order."""
    return msgspec.json.encode(dict(context), order="deterministic")
