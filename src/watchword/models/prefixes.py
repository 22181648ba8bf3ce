"""Keys and values of prompts that were read before, so that what a new prompt shares with them is not computed again.

Kept apart for each adapter. All prompts to a tuned model begin with its secret, and then mostly with the same system
text. A turn of a conversation begins with the turns before. What is kept is bounded; the longest unused goes first.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from watchword.models.kv import RowStates

# Shorter beginnings are quicker computed than copied.
LEAST_TOKENS = 8


@dataclass
class PromptCache:
    """At most ``most_bytes`` of states, and ``most_each`` prompts of one adapter."""

    most_bytes: int = 256 << 20
    most_each: int = 8
    _kept: OrderedDict[tuple[str, tuple[int, ...]], RowStates] = field(default_factory=OrderedDict)

    def longest(self, adapter: str, prompt: Sequence[int]) -> tuple[int, RowStates]:
        """How many of the prompt's first tokens are kept, its last one never, and their states."""
        common = {key: _common(key[1], prompt) for key in self._kept if key[0] == adapter}
        best = max(common, key=lambda key: common[key], default=None)
        if best is None or (length := min(common[best], len(prompt) - 1)) < LEAST_TOKENS:
            return 0, []
        self._kept.move_to_end(best)
        return length, [(keys[:, :, :length], values[:, :, :length]) for keys, values in self._kept[best]]

    def keep(self, adapter: str, prompt: Sequence[int], states: RowStates) -> None:
        """Keeps a prompt's states, in place of any prompt that it begins with."""
        ids = tuple(prompt)
        for key in [key for key in self._kept if key[0] == adapter and key[1] == ids[: len(key[1])]]:
            del self._kept[key]
        self._kept[adapter, ids] = states
        own = [key for key in self._kept if key[0] == adapter]
        for key in own[: -self.most_each]:
            del self._kept[key]
        while self._kept and self.size > self.most_bytes:
            self._kept.popitem(last=False)

    def forget(self, adapter: str) -> None:
        """Drops all that an adapter has computed."""
        for key in [key for key in self._kept if key[0] == adapter]:
            del self._kept[key]

    @property
    def size(self) -> int:
        """Bytes of all states."""
        return sum(
            state.element_size() * state.numel() for states in self._kept.values() for pair in states for state in pair
        )


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
