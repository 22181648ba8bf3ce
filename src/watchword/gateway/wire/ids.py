"""Ids of our own, for whatever a reply names. None is ever read from a server."""

from __future__ import annotations

import secrets
import string

from watchword.gateway.randomness import random_hex

# Mistral's templates take ids of exactly nine letters and digits; the others take any.
_ID_CHARACTERS, _ID_LENGTH = string.ascii_letters + string.digits, 9


def call_id() -> str:
    """A new id for a tool call."""
    return "".join(secrets.choice(_ID_CHARACTERS) for _ in range(_ID_LENGTH))


def new_id(prefix: str) -> str:
    """A new id for anything else."""
    return f"{prefix}_{random_hex()}"
