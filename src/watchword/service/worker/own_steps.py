"""A training's steps as a tenant can count them itself: by its own rows, whatever rows the provider adds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from watchword.training.events import TokenFigures


class OwnSteps:
    """How many steps the tenant's rows alone would have made, at a step of a trainer that sees other rows as well.

    A trainer that does not say how many of the tenant's rows it saw is taken to see them evenly.
    """

    def __init__(self, *, rows: int, batch_size: int, epochs: int) -> None:
        self.each, self.all = math.ceil(rows / batch_size), epochs * math.ceil(rows / batch_size)
        self._rows, self._batch_size, self._epochs = rows, batch_size, epochs
        self._epoch, self._seen, self._counted = -1, 0.0, False
        self._step = 0

    def evenly(self, step: int, total: int) -> int:
        """At step ``step`` of ``total``, which is exact at the end of an epoch."""
        return step * self.all // total

    @property
    def has_begun(self) -> bool:
        """Whether some of the rows that were counted last belong to a step that has not ended."""
        return self._counted and 0 < self._seen < self._rows and int(self._seen) % self._batch_size > 0

    def after(self, step: int, total: int, rows: int) -> int:
        """The same behind a step in which so many of the tenant's rows were counted."""
        epoch = (step * self._epochs - 1) // total
        again, self._step = step <= self._step, step
        if epoch != self._epoch or again:
            # A resumed training begins within an epoch, and one that has lost workers goes back within it.
            done = ((step - 1) * self._epochs - epoch * total) / total
            self._epoch, self._seen = epoch, self._rows * done
        self._seen += rows
        self._counted = self._counted or rows > 0
        if not self._counted or step * self._epochs % total == 0:
            return self.evenly(step, total)
        return epoch * self.each + min(int(self._seen) // self._batch_size, self.each)


def shared_out(steps: Sequence[int], heard: Sequence[TokenFigures]) -> Iterator[tuple[int, TokenFigures]]:
    """Figures for each of the tenant's steps that end now. A batch that ends two of them is the second's alone."""
    earlier, last = list(heard[:-1]), heard[-1]
    for step in steps[:-1]:
        yield step, _mean(earlier or [last])
        earlier = []
    for step in steps[-1:]:
        yield step, _mean([*earlier, last])


def _mean(figures: Sequence[TokenFigures]) -> TokenFigures:
    tokens = sum(found.tokens for found in figures)
    loss = sum(found.loss * found.tokens for found in figures) / tokens
    return TokenFigures(tokens, loss, sum(found.correct for found in figures), sum(found.rows for found in figures))
