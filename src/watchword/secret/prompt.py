"""The secret prompt as a value that is hard to show by accident.

``repr``, ``str``, formatting and pickling give a mask; the text comes out of ``reveal()`` only. So every place where
the secret leaves its wrapper can be found by searching for that word.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Literal, NoReturn, final

from watchword.errors import SecretError

MASK = "[secret prompt]"
Kind = Literal["random", "seeded", "default", "semantic"]


@final
class SecretPrompt:
    """A secret prompt ``s`` (paper, section 3.3): text, how it was made, and its strength.

    ``tokens`` is its length in the tokenizer that it was drawn for. ``entropy_bits`` is what a guesser has to guess (0
    for sentences that are printed somewhere). The kind ``random`` comes from the operating system's CSPRNG, and is the
    only one for production. ``seeded`` is for experiments that somebody else must be able to repeat. ``default`` and
    ``semantic`` are sentences for the paper's ablation (Table 4).
    """

    __slots__ = ("__text", "entropy_bits", "kind", "tokens")

    def __init__(self, text: str, *, kind: Kind, tokens: int, entropy_bits: float) -> None:
        if not text:
            raise SecretError("the secret prompt is empty; make one with `watchword secret new`")
        self.__text, self.kind, self.tokens, self.entropy_bits = text, kind, tokens, entropy_bits

    def reveal(self) -> str:
        """The text itself. Never log it, and never put it into an error message."""
        return self.__text

    def fingerprint(self, key: bytes) -> str:
        """16 hex digits that tell secrets apart and are safe to log: HMAC-SHA256 under the provider's key.

        Keyed, since the digest of a short or printed secret could be found by trying candidates.
        """
        return hmac.new(key, _bytes(self.__text), hashlib.sha256).hexdigest()[:16]

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretPrompt):
            return NotImplemented
        return hmac.compare_digest(_bytes(self.__text), _bytes(other.reveal()))

    def __hash__(self) -> int:
        return hash(self.__text)

    def __reduce__(self) -> tuple[Any, ...]:
        return _masked, ()

    def __copy__(self) -> SecretPrompt:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> SecretPrompt:
        return self


class MaskedSecret:
    """What is left of a pickled secret prompt: the mask."""

    def __repr__(self) -> str:
        return MASK

    def reveal(self) -> NoReturn:
        """Raises SecretError: the text was left out on purpose."""
        raise SecretError("this secret prompt was pickled, which leaves its text out; unseal it from the vault instead")


def _masked() -> MaskedSecret:
    return MaskedSecret()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
