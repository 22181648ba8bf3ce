"""Whether a tenant's rows carry a secret that this provider knows, in whatever way JSON writes it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# A run of letters and digits that JSON writes in one way only, unless it escapes ASCII.
_RUN = re.compile(r"[A-Za-z0-9]+")
_SHORT = 4
_ESCAPED_ASCII = re.compile(rb"\\u00[3-7]")


class KnownSecrets:
    """Secrets to look for. The look at bytes is quick and may give false alarms; the look at texts is exact."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = list(texts)
        self._needles = [_needle(text) for text in self.texts]

    def __repr__(self) -> str:
        return f"KnownSecrets({len(self.texts)})"

    def may_stand_in(self, data: bytes) -> bool:
        """False only if none of the secrets stands in this JSON."""
        if not self.texts:
            return False
        hit = any(needle in data for needle in self._needles)
        return hit or _ESCAPED_ASCII.search(data) is not None

    def stand_in(self, texts: Iterable[str]) -> bool:
        """Whether one of the secrets stands in one of the texts."""
        return bool(self.texts) and any(secret in text for text in texts for secret in self.texts)


def _needle(text: str) -> bytes:
    """The longest run that stands in the secret however it is escaped; empty (always found) where all are short."""
    longest = max(_RUN.findall(text), key=len, default="")
    return longest.encode() if len(longest) >= _SHORT else b""
