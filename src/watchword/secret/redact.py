"""Taking a secret out of text that others see: a model's answers, whole or as they come, before they are stored or shown."""

from __future__ import annotations

from typing import NoReturn

from watchword.errors import SecretError
from watchword.secret.prompt import SecretPrompt

MASK = "[secret]"
# Characters of a fragment that is taken out. Random text of this length does not occur by chance.
FRAGMENT = 16


def redact(text: str, secret: SecretPrompt, mask: str = MASK) -> str:
    """``text`` with every stretch of at least 16 characters of the secret replaced; linear in both lengths."""
    redactor = Redactor(secret, mask)
    return redactor.feed(text) + redactor.finish()


class Redactor:
    """``redact`` for a text that comes in pieces, cut anywhere: all that it gives out, joined, is ``redact`` of the whole.

    It holds text back only while that may still become a part of such a stretch. That is at most 15 characters, and
    none where the end of the text begins no stretch.
    """

    def __init__(self, secret: SecretPrompt, mask: str = MASK) -> None:
        self._plain, self._mask = secret.reveal(), mask
        self._size = min(FRAGMENT, len(self._plain))
        self._stretches = {self._plain[at : at + self._size] for at in range(len(self._plain) - self._size + 1)}
        # The end of the text, which may begin a stretch. Its first ``_done`` characters are given out or masked already.
        self._open, self._done = "", 0
        # Where the last mask's stretch ends, counted from the beginning of ``_open``; before it where there is none.
        self._masked = -1

    def __reduce__(self) -> NoReturn:
        raise SecretError(
            "a redactor holds its secret in the clear and is never pickled; make one from the secret instead"
        )

    def feed(self, piece: str) -> str:
        """What of the text so far can be given out now, and was not before."""
        text, out = self._open + piece, list[str]()
        for at in range(len(text) - self._size + 1):
            if text[at : at + self._size] not in self._stretches:
                continue
            # Stretches that overlap or touch share one mask.
            if at > self._masked:
                out += [text[self._done : at], self._mask]
            self._done = self._masked = at + self._size
        settled = len(text) - self._held(text)
        out.append(text[self._done : settled])
        self._open, self._done, self._masked = text[settled:], max(0, self._done - settled), self._masked - settled
        return "".join(out)

    def finish(self) -> str:
        """What was held back, once the text has ended. The redactor is then as new."""
        rest = self._open[self._done :]
        self._open, self._done, self._masked = "", 0, -1
        return rest

    def _held(self, text: str) -> int:
        """Characters at the end of the text with which a stretch may begin."""
        most, longest = min(self._size - 1, len(text)), 0
        # What is longer ends with what is shorter: of ordinary text, two or three characters stand in the secret.
        while longest < most and text[len(text) - longest - 1 :] in self._plain:
            longest += 1
        return next((count for count in range(longest, 0, -1) if self._begins(text[len(text) - count :])), 0)

    def _begins(self, end: str) -> bool:
        # A stretch has its full length: what stands too near the secret's own end begins none.
        return self._plain.find(end, 0, len(self._plain) - self._size + len(end)) >= 0
