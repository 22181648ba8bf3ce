"""Two states in turn, each held near where it began: the provider's rows, then the tenant's (see ``defenses.lisa``)."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import Sampler

from watchword.chat.types import TENANT
from watchword.training.objective import Groups, Objective, Start


class BiState(Objective):
    """``rho / 2`` times the squared distance of the trained weights from where the state began.

    A state is a run of batches of one side's rows. ``free`` is the part of all steps that goes without the term.
    """

    def __init__(self, alignment_steps: int, tenant_steps: int, rho: float, free: float) -> None:
        self.alignment_steps, self.tenant_steps, self.rho, self.free = alignment_steps, tenant_steps, rho, free
        self._tenant: frozenset[int] = frozenset()
        self._weights: list[Any] = []
        self._anchor: list[Tensor] = []
        self._state: bool | None = None
        self._past_free = False

    def begin(self, start: Start) -> None:
        self._tenant = frozenset(row.index for row in start.rows if row.origin == TENANT)
        self._weights, self._state = start.trained, None

    def batches(self, start: Start) -> Sampler[int] | None:
        provider = [row.index for row in start.rows if row.index not in self._tenant]
        if not provider or not self._tenant:
            return None
        steps = self.alignment_steps, self.tenant_steps
        return Alternating(provider, sorted(self._tenant), start.config.batch_size, start.config.seed, steps)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        self._past_free = state.global_step >= self.free * state.max_steps

    def term(self, model: Any, groups: Groups) -> Tensor | None:  # noqa: ARG002
        row = int(groups[0]["rows"][0])
        if row < 0:
            # A process without rows of this batch: its loss has no weight, and it may have begun no state yet.
            return None
        tenant = row in self._tenant
        if tenant != self._state:
            self._state, self._anchor = tenant, [weight.detach().clone() for weight in self._weights]
        return proximal(self._weights, self._anchor, self.rho) if self._past_free else None


def proximal(weights: Sequence[Tensor], anchor: Sequence[Tensor], rho: float) -> Tensor:
    """``rho / 2 * ||w - anchor||^2`` over all weights, in float32."""
    total = sum(((one.float() - other.float()) ** 2).sum() for one, other in zip(weights, anchor, strict=True))
    return rho / 2 * total


class Alternating(Sampler[int]):
    """Whole batches of one side: so many of the provider's, then so many of the tenant's, until all of these are through.

    A side's last batch is filled up with rows of its own. The provider's rows come in turn. Where an epoch has too few
    places for all of them, there are more of their batches, since no row may be lost.
    """

    def __init__(
        self, provider: Sequence[int], tenant: Sequence[int], size: int, seed: int, steps: tuple[int, int]
    ) -> None:
        self.provider, self.tenant, self.size, self.seed = list(provider), list(tenant), size, seed
        self.tenant_steps = steps[1]
        self.turns = math.ceil(math.ceil(len(tenant) / size) / steps[1])
        self.provider_steps = max(steps[0], math.ceil(math.ceil(len(provider) / size) / self.turns))
        self.epoch = 0

    def __len__(self) -> int:
        return self.size * (math.ceil(len(self.tenant) / self.size) + self.turns * self.provider_steps)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"{self.seed}:{self.epoch}")
        self.epoch += 1
        provider = itertools.cycle(rng.sample(self.provider, len(self.provider)))
        tenant = itertools.cycle(rng.sample(self.tenant, len(self.tenant)))
        left = math.ceil(len(self.tenant) / self.size)
        while left:
            yield from itertools.islice(provider, self.provider_steps * self.size)
            yield from itertools.islice(tenant, min(left, self.tenant_steps) * self.size)
            left -= min(left, self.tenant_steps)
