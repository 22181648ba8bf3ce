"""The one check for secrets that this provider has: no tenant's row may carry one, wherever and however it writes it.

Used by ``watchword guard``, ``watchword train``, ``watchword.guard`` and sharded runs alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from ahocorasick_rs import BytesAhoCorasick, Implementation

from watchword.chat.types import Conversation
from watchword.errors import SecretCollisionError
from watchword.secret.prompt import SecretPrompt

# A run of letters, which plain rows (chat.fast) write in one way only.
_RUN = re.compile(r"[A-Za-z]+")
_SHORT = 4
# So many are found sooner one after the other than all at once.
_FEW = 8
# Line or row numbers that an error names.
_NAMED = 5


class KnownSecrets:
    """Secrets to look for. The look at bytes is quick and may give false alarms; the look at texts is exact."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = list(texts)
        self._needles = [_needle(text) for text in self.texts]
        many = len(self._needles) > _FEW and all(self._needles)
        self._all = BytesAhoCorasick(self._needles, implementation=Implementation.DFA) if many else None

    @classmethod
    def of(cls, secrets: Iterable[SecretPrompt | None]) -> KnownSecrets:
        """Of secrets in their wrappers, each once; None stands for no secret."""
        return cls(list(dict.fromkeys(secret.reveal() for secret in secrets if secret is not None)))

    def __repr__(self) -> str:
        return f"KnownSecrets({len(self.texts)})"

    def may_stand_in(self, data: bytes) -> bool:
        """False only if none of the secrets stands in the JSON of these plain rows."""
        if self._all is not None:
            return bool(self._all.find_matches_as_indexes(data))
        return any(needle in data for needle in self._needles)

    def stand_in(self, texts: Iterable[str]) -> bool:
        """Whether one of the secrets stands in one of the texts."""
        if not self.texts:
            return False
        # One look for each secret, not one for each pair. No secret holds a NUL, so none goes from text to text.
        whole = "\0".join(texts)
        return any(secret in whole for secret in self.texts)

    def stand_in_row(self, conv: Conversation) -> bool:
        """Whether one of the secrets stands anywhere in a row."""
        return self.stand_in(texts_of(conv))


def refuse_carriers(rows: Iterable[tuple[int, Conversation]], known: KnownSecrets, label: str, place: str) -> None:
    """Raises SecretCollisionError if rows carry a known secret. ``place`` says what their numbers count: line or row."""
    if found := [number for number, conv in rows if known.stand_in_row(conv)]:
        raise collision(found, label, place)


def collision(numbers: Sequence[int], label: str, place: str) -> SecretCollisionError:
    """What to say of rows that carry a secret: where they are, and nothing of what they carry."""
    shown = ", ".join(map(str, numbers[:_NAMED])) + (", …" if len(numbers) > _NAMED else "")
    return SecretCollisionError(
        f"{label}: {place} {shown} carries a secret of this provider; a guarded file must not be guarded again, and "
        "a tenant must never see a secret: find out how it got there, and draw a new one"
    )


def texts_of(conv: Conversation) -> Iterator[str]:
    """Every text of a row, wherever a trainer might read it: whatever fields a row has, their values and their keys.

    Text parts come joined too, as templates write them: a secret may begin in one and end in the next.
    """
    yield from (turn.text for turn in conv.messages if turn.content is not None and not isinstance(turn.content, str))
    # Not recursive: how deep tools are nested is the tenant's choice.
    waiting: list[Any] = [msgspec.to_builtins(conv)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += [*value, *value.values()]
            if isinstance(written := value.get("arguments"), str):
                waiting.append(_read(written))
        elif isinstance(value, (list, tuple)):
            waiting += value


def _read(arguments: str) -> Any:
    """A call's arguments as templates see them: JSON text hides what it escapes."""
    try:
        return msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _needle(text: str) -> bytes:
    """The longest run that stands in the secret however it is escaped; empty (always found) where all are short."""
    longest = max(_RUN.findall(text), key=len, default="")
    return longest.encode() if len(longest) >= _SHORT else b""
