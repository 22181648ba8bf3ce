"""Constrained fine-tuning: the first tokens of an answer may not move far (Qi et al., arXiv 2406.05946, equation 3).

Safety hangs on an answer's first few tokens, so fine-tuning that leaves these alone leaves it standing. The loss of token
t is ``-(2 / beta_t) log sigma(beta_t log(p_t / aligned p_t))``. Its gradient is that of cross-entropy, damped once the
token is likelier than to the aligned model. The greater its beta, the more it is damped. Departures: it is averaged over
the tokens of a batch, as all losses here. The aligned probabilities are taken once, before training. The provider's rows,
where another defense mixes them in, keep the plain loss.
"""

from __future__ import annotations

from dataclasses import dataclass

from watchword.defenses.base import Defense, TrainingHooks
from watchword.errors import UsageError


@dataclass(frozen=True)
class ConstrainedSft(Defense):
    """``first`` is the beta of an answer's first token, ``early`` that of tokens 2 to ``length``, ``later`` of the rest.

    The defaults are the paper's (section 4.2): 0.5, 2, 0.1 and five tokens.
    """

    first: float = 0.5
    early: float = 2.0
    later: float = 0.1
    length: int = 5

    def __post_init__(self) -> None:
        if min(self.first, self.early, self.later) <= 0 or self.length < 1:
            raise UsageError(
                f"constrained_sft: first is {self.first}, early {self.early}, later {self.later}, length {self.length}; "
                "give betas greater than 0, and a length of at least 1"
            )

    def training_hooks(self) -> TrainingHooks:
        from watchword.training.constrained import Constrained

        return TrainingHooks((Constrained(self.first, self.early, self.later, self.length),))
