"""API keys: drawn here, shown once, and kept as digests only.

A key reads ``ww_live_<id>_<secret><check>``. Logs and lists name the id. The check finds a key that was cut or
mistyped without asking the database. The secret has 256 random bits, so its plain SHA-256 tells nothing of it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass, field

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_BYTES, _SECRET_CHARS, _CHECK_CHARS, _ID_CHARS = 32, 43, 6, 12
_KEY = re.compile(
    rf"(?P<body>ww_live_(?P<id>key[0-9A-Za-z]{{{_ID_CHARS}}})_[0-9A-Za-z]{{{_SECRET_CHARS}}})(?P<check>[0-9A-Za-z]{{{_CHECK_CHARS}}})"
)


@dataclass(frozen=True)
class DrawnKey:
    """A new key. ``text`` is for its owner, once; only ``id`` and ``digest`` are kept."""

    id: str
    text: str = field(repr=False)
    digest: str = field(repr=False)


def draw_key() -> DrawnKey:
    """A new key, from the operating system's random generator."""
    key_id = "key" + "".join(secrets.choice(_ALPHABET) for _ in range(_ID_CHARS))
    body = f"ww_live_{key_id}_{_base62(int.from_bytes(secrets.token_bytes(_SECRET_BYTES)), _SECRET_CHARS)}"
    text = body + _check(body)
    return DrawnKey(key_id, text, key_digest(text))


def key_digest(text: str) -> str:
    """What is kept of a key: SHA-256 in hex. A lookup by it needs no comparison that could be timed."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def well_formed(text: str) -> bool:
    """Whether this can be a key at all, seen without the database."""
    found = _KEY.fullmatch(text)
    return found is not None and found["check"] == _check(found["body"])


def id_in(text: str) -> str | None:
    """The id that a key names, which is safe to log; None where this is no key."""
    found = _KEY.fullmatch(text)
    return found["id"] if found else None


def _check(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK_CHARS)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
