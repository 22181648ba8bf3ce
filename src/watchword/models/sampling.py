"""How the next token of one row is chosen, in OpenAI's terms: temperature, nucleus, penalties and biases."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from watchword.models.decode import GREEDY_BELOW, nucleus


@dataclass(frozen=True)
class Sampling:
    """Settings of one answer. A ``temperature`` near 0 is greedy; without a ``seed`` each answer has its own."""

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether the likeliest token is taken as the model says it."""
        sampled = self.temperature >= GREEDY_BELOW
        return not (sampled or self.presence_penalty or self.frequency_penalty or self.logit_bias)


class Sampler:
    """Chooses the tokens of one answer."""

    def __init__(self, sampling: Sampling, device: torch.device) -> None:
        self.sampling = sampling
        self._random = torch.Generator(device=device)
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)

    def choose(self, logits: Tensor, said: Sequence[int]) -> int:
        """The token behind ``said``, by the logits (V,) of the model."""
        settings = self.sampling
        logits = self._corrected(logits.float(), said)
        if settings.temperature < GREEDY_BELOW:
            return int(logits.argmax())
        odds = nucleus((logits / settings.temperature)[None], settings.top_p)
        return int(torch.multinomial(odds, 1, generator=self._random))

    def _corrected(self, logits: Tensor, said: Sequence[int]) -> Tensor:
        """Penalties as OpenAI documents them: a fixed part for a token that was said, and a part for each time."""
        settings, changes = self.sampling, defaultdict[int, float](float)
        if settings.presence_penalty or settings.frequency_penalty:
            for token, times in Counter(said).items():
                changes[token] -= settings.presence_penalty + settings.frequency_penalty * times
        for token, bias in settings.logit_bias.items():
            if token < logits.shape[0]:
                changes[token] += bias
        if not changes:
            return logits
        tokens = torch.tensor(list(changes), device=logits.device)
        return logits.index_add(0, tokens, torch.tensor(list(changes.values()), device=logits.device))
