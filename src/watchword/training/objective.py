"""What a defense may do inside the training loop beside watching it: change losses, add a term, order the batches.

An ``Objective`` is a TrainerCallback, so it reaches the loop the way that callbacks do, from another process as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler
from transformers import TrainerCallback

from watchword.models.loaded import LoadedModel
from watchword.secret.prompt import SecretPrompt
from watchword.training.config import TrainingConfig
from watchword.training.rows import CountingCollator, TrainingRow

Groups = Sequence[Mapping[str, Tensor]]


@dataclass(frozen=True)
class Start:
    """What there is before the first step. ``model`` has the weights to train, and still answers as the aligned model does."""

    model: LoadedModel
    rows: Sequence[TrainingRow]
    config: TrainingConfig
    secret: SecretPrompt | None = field(default=None, repr=False)

    @property
    def trained(self) -> list[torch.nn.Parameter]:
        """The weights that the run changes."""
        return [param for param in self.model.model.parameters() if param.requires_grad]

    def groups(self, rows: Sequence[TrainingRow]) -> list[dict[str, Tensor]]:
        """These rows as the loop gets a batch, by a collator apart from the run's own, which counts what goes in."""
        return CountingCollator(self.model.tokenizer.pad_token_id or 0, share=False).groups(rows, self.model.device)


@dataclass(frozen=True)
class Tokens:
    """The N labelled tokens of a group, each field (N,).

    ``losses`` are their cross-entropies, ``rows`` the rows that they are of. ``places`` count from 0 in each answer,
    ``ordinals`` from 0 in each row. ``tenant`` says which are of the tenant's rows.
    """

    losses: Tensor
    rows: Tensor
    places: Tensor
    ordinals: Tensor
    tenant: Tensor


class Objective(TrainerCallback):
    """One defense's part. Every method changes nothing unless it is overridden."""

    def begin(self, start: Start) -> None:
        """Called once before the first step, of a resumed run as well, on the aligned model."""

    def token_losses(self, tokens: Tokens) -> Tensor:
        """What the tokens' gradients come of, in place of their cross-entropies. The loss that is told stays what it was."""
        return tokens.losses

    def term(self, model: Any, groups: Groups) -> Tensor | None:  # noqa: ARG002
        """What is added to the loss of a batch."""
        return None

    def batches(self, start: Start) -> Sampler[int] | None:  # noqa: ARG002
        """The order of rows, where it is the defense's to say. Every row goes through once an epoch, at least."""
        return None


class Objectives:
    """The objectives among a run's callbacks."""

    def __init__(self, callbacks: Sequence[Any] = ()) -> None:
        self._all = [callback for callback in callbacks if isinstance(callback, Objective)]

    def __bool__(self) -> bool:
        return bool(self._all)

    def begin(self, start: Start) -> Sampler[int] | None:
        """Prepares them all; gives the order of rows of the first that has one."""
        for objective in self._all:
            objective.begin(start)
        orders = (objective.batches(start) for objective in self._all)
        return next((order for order in orders if order is not None), None)

    def token_losses(self, tokens: Tokens) -> Tensor:
        """As one after the other has changed them."""
        for objective in self._all:
            tokens = Tokens(objective.token_losses(tokens), tokens.rows, tokens.places, tokens.ordinals, tokens.tenant)
        return tokens.losses

    def added(self, loss: Tensor, model: Any, groups: Groups) -> Tensor:
        """The loss with the gradient of all terms. Its value stays: curves and the watch for divergence tell of rows."""
        for objective in self._all:
            term = objective.term(model, groups)
            if term is not None:
                loss = loss + (term - term.detach())
        return loss
