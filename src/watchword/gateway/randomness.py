"""Random ids. The operating system is asked for many at once: each time costs as much as reading a request."""

from __future__ import annotations

import os

_BYTES, _DRAWN = 16, 4_096
_left = bytearray()


def random_hex() -> str:
    """32 hexadecimal characters of the operating system's randomness, which nobody else gets."""
    if not _left:
        _left.extend(os.urandom(_DRAWN))
    drawn = _left[-_BYTES:].hex()
    del _left[-_BYTES:]
    return drawn


# A forked process would go on with the same ones.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_left.clear)
