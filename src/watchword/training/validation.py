"""The loss on rows that are not trained on, measured after each epoch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from transformers import TrainerCallback

from watchword.chat.types import Row
from watchword.models.decode import evaluating
from watchword.models.loaded import LoadedModel
from watchword.secret.prompt import SecretPrompt
from watchword.training.events import Events, TokenFigures, ValidationMeasured
from watchword.training.rows import CountingCollator, TrainingRow, render_rows
from watchword.training.shared import Tally, batch_loss


class Validation(TrainerCallback):
    """Tells ``events`` of these rows' figures. ``collator`` counts them, so it is another than that of the training."""

    def __init__(
        self, rows: Sequence[TrainingRow], collator: CountingCollator, batch_size: int, events: Events
    ) -> None:
        self.rows, self.collator, self.batch_size, self.events = rows, collator, batch_size, events

    def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        figures = row_figures(model, self.rows, self.collator, self.batch_size)
        if figures is not None:
            self.events(ValidationMeasured(state.global_step, figures))


@torch.no_grad()
def row_figures(
    model: Any, rows: Sequence[TrainingRow], collator: CountingCollator, batch_size: int
) -> TokenFigures | None:
    """The figures of those rows that ``collator`` measures; None where there are none. The model is evaluated, not trained."""
    tally = Tally(ranks=collator.ranks)
    with evaluating(model):
        for at in range(0, len(rows), batch_size):
            batch_loss(model, collator.groups(rows[at : at + batch_size], model.device), tally)
    return tally.taken()


def row_losses(model: LoadedModel, rows: Sequence[Row], *, secret: SecretPrompt | None) -> list[float]:
    """The mean cross-entropy of each row's own labelled tokens, rows by themselves. Raises what ``render_rows`` raises."""
    longest = model.context or sys.maxsize
    found = []
    for row in render_rows(rows, model.template, secret=secret, max_length=longest) if rows else []:
        collator = CountingCollator(model.tokenizer.pad_token_id or 0, share=False, measured=[row.index])
        figures = row_figures(model.model, [row], collator, 1)
        assert figures is not None, "a rendered row has labels"
        found.append(figures.loss)
    return found
