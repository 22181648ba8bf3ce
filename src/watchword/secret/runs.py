"""Runs of a secret's tokens among alternatives: where a reply shows several tokens for each place, any of them may be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from watchword.secret.disguises import letters


class TokenRuns:
    """Takes the tokens of one place after the other. Case, spaces and accents of a token do not matter."""

    def __init__(self, tokens: Sequence[str]) -> None:
        """``tokens`` are the texts of the secret's own tokens, in order."""
        self._places: dict[str, list[int]] = {}
        for place, token in enumerate(tokens):
            self._places.setdefault(_plain(token), []).append(place)
        self._lengths: dict[int, int] = {}

    def feed(self, tokens: Iterable[str]) -> int:
        """The longest run of the secret that can be read up to this place."""
        places = {place for token in tokens for place in self._places.get(_plain(token), ())}
        self._lengths = {place: self._lengths.get(place - 1, 0) + 1 for place in places}
        return max(self._lengths.values(), default=0)


def _plain(token: str) -> str:
    return letters(token) or token.strip()
