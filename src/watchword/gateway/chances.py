"""The leak filter on log probabilities: the tokens that were said, those that nearly were, and every one by itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from watchword.gateway.call import TokenChances
from watchword.gateway.escapes import Reading, leak_in_text
from watchword.secret.disguises import RUN
from watchword.secret.leaks import Leak, LeakFilter

_ALTERNATIVES = Leak("alternatives")


def leak_in_chances(chances: Sequence[TokenChances], leaks: LeakFilter) -> Leak | None:
    """The first leak in the probabilities of a whole answer; None where there is none."""
    if not chances:
        return None
    filtered = FilteredChances(leaks)
    filtered.feed(chances)
    return filtered.leak


class FilteredChances:
    """The probabilities of one answer. What ``feed`` and ``finish`` return may go out; nothing does behind a leak.

    Three readings are looked at: the tokens that were said, the likeliest one of each place, and any one of each place.
    """

    def __init__(self, leaks: LeakFilter) -> None:
        self._leaks, self._runs = leaks, leaks.runs()
        self._readings = (_Tokens(Reading(leaks.stream())), _Tokens(Reading(leaks.stream())))
        self._held: deque[TokenChances] = deque()
        self.leak: Leak | None = None

    def feed(self, chances: Sequence[TokenChances]) -> tuple[TokenChances, ...]:
        """The places that may be shown now."""
        keep = 0
        for one in chances:
            self._held.append(one)
            keep = self._place(one)
            if self.leak is not None:
                self._held.clear()
                return ()
        return tuple(self._held.popleft() for _ in range(len(self._held) - keep))

    def finish(self) -> tuple[TokenChances, ...]:
        """The rest, at the end of the answer."""
        rest = tuple(self._held)
        self._held.clear()
        return rest

    def _place(self, one: TokenChances) -> int:
        """Takes one place in; how many places must be held back with it."""
        tokens = [one.said.token, *(other.token for other in one.top)]
        self.leak = self.leak or next(
            filter(None, (leak_in_text(token, self._leaks) for token in dict.fromkeys(tokens))), None
        )
        likeliest = max((one.said, *one.top), key=lambda chance: chance.logprob)
        held = [
            reading.feed(token) for reading, token in zip(self._readings, (tokens[0], likeliest.token), strict=True)
        ]
        self.leak = self.leak or next((reading.leak for reading in self._readings if reading.leak is not None), None)
        run = self._runs.feed(tokens)
        if run >= RUN:
            self.leak = self.leak or _ALTERNATIVES
        return max(run, *held)


@dataclass
class _Tokens:
    """One token for each place, read as a text."""

    reading: Reading

    def __post_init__(self) -> None:
        self._open: deque[int] = deque()
        self._passed = 0

    @property
    def leak(self) -> Leak | None:
        return self.reading.leak

    def feed(self, token: str) -> int:
        """Takes the next token in; of how many tokens some text is held back."""
        self._open.append(len(token))
        self._passed += len(self.reading.feed(token))
        while self._open and self._open[0] <= self._passed:
            self._passed -= self._open.popleft()
        return len(self._open)
