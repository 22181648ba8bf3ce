"""An answer while it is written: tokens become pieces of text, and the tenant's stop sequences end it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from watchword.models.pieces import TextPieces


class WrittenAnswer:
    """One answer. ``finish`` is None while it goes on; ``tokens`` counts those that were computed."""

    def __init__(self, tokenizer: Any, stops: Sequence[str]) -> None:
        self._pieces, self._stops, self._held = TextPieces(tokenizer), stops, ""
        self.tokens = 0
        self.finish: Literal["stop", "length"] | None = None

    def add(self, token: int, ended: Literal["stop", "length"] | None) -> str:
        """The text that is certain with this token; ``ended`` says that it is the answer's last, and why."""
        self.tokens += 1
        self._held += self._pieces.add(token)
        if ended:
            self._held += self._pieces.rest()
        found = min((at for stop in self._stops if (at := self._held.find(stop)) >= 0), default=None)
        self._held, self.finish = (self._held, ended) if found is None else (self._held[:found], "stop")
        settled = len(self._held) if self.finish else len(self._held) - self._open_end()
        said, self._held = self._held[:settled], self._held[settled:]
        return said

    def _open_end(self) -> int:
        """Characters at the end that may be the beginning of a stop sequence."""
        most = max(map(len, self._stops), default=1) - 1
        ends = range(min(most, len(self._held)), 0, -1)
        return next((n for n in ends if any(stop.startswith(self._held[-n:]) for stop in self._stops)), 0)
