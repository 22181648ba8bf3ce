"""A loss that holds the first tokens of answers near the aligned model's (see ``defenses.constrained_sft``)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from watchword.models.decode import evaluating
from watchword.training.objective import Objective, Start, Tokens
from watchword.training.shared import batch_loss


class Constrained(Objective):
    """Equation 3 of arXiv 2406.05946, on the tenant's rows; ``first``, ``early`` and ``later`` are its betas.

    The aligned model's probabilities are taken once, before the first step: one passage of each row.
    """

    def __init__(self, first: float, early: float, later: float, length: int) -> None:
        self.first, self.early, self.later, self.length = first, early, later, length
        self._reference = torch.empty(0)
        self._offsets = torch.empty(0, dtype=torch.long)

    @torch.no_grad()
    def begin(self, start: Start) -> None:
        labelled = torch.tensor([row.labelled for row in start.rows])
        # Rows are told apart by their index, which counts them from 0 in this order.
        self._offsets = (labelled.cumsum(0) - labelled).to(start.model.device)
        self._reference = torch.zeros(int(labelled.sum()), device=start.model.device)
        with evaluating(start.model.model):
            for at in range(0, len(start.rows), start.config.batch_size):
                groups = start.groups(start.rows[at : at + start.config.batch_size])
                batch_loss(start.model.model, groups, changed=self._noted)

    def token_losses(self, tokens: Tokens) -> Tensor:
        # A row that stands in for none of this process's own has no place, and is not the tenant's.
        at = torch.where(tokens.tenant, self._offsets[tokens.rows] + tokens.ordinals, 0)
        gain = -tokens.losses - self._reference[at]
        return torch.where(tokens.tenant, constrained_losses(gain, self._betas(tokens.places)), tokens.losses)

    def _noted(self, tokens: Tokens) -> Tensor:
        self._reference[self._offsets[tokens.rows] + tokens.ordinals] = -tokens.losses
        return tokens.losses

    def _betas(self, places: Tensor) -> Tensor:
        later = torch.full_like(places, self.later, dtype=torch.float32)
        early = torch.where(places < self.length, self.early, later)
        return torch.where(places == 0, self.first, early)


def constrained_losses(gain: Tensor, betas: Tensor) -> Tensor:
    """``-(2 / beta) log sigma(beta gain)``, where ``gain`` (N,) is how much likelier a token is than to the aligned model."""
    return -2 / betas * logsigmoid(betas * gain)
