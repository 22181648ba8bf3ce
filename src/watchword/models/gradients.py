"""How alike the gradients of rows are: what training on one row does to others, to first order.

It is what He et al. (arXiv 2404.01099, gradient matching with bi-directional anchoring) choose harmless rows by that undo
safety. Here gradients are those of the layers' matrices as they are, one row at a time, so nothing is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from watchword.chat.render import IGNORED, render_row
from watchword.chat.types import Conversation, Row
from watchword.errors import UsageError
from watchword.models.decode import CausalModel, evaluating
from watchword.models.threads import sharing_cores
from watchword.progress import Progress

# Labelled tokens of a row that count: whether an answer complies is decided at its beginning.
FIRST_TOKENS = 10


def gradient_likeness(
    model: CausalModel,
    rows: Sequence[Conversation],
    like: Sequence[Conversation],
    unlike: Sequence[Conversation] = (),
    *,
    on_progress: Progress | None = None,
) -> list[float]:
    """Of each row, the cosine of its gradient with the mean of ``like``, less that with the mean of ``unlike``; -2 to 2.

    Each row's gradient counts with length 1, so that short answers do not outweigh the rest. Raises UsageError without rows in
    ``like``, and DataError for a row that cannot be trained on.
    """
    if not like:
        raise UsageError(
            "gradients are compared with those of at least one row; give rows that the others should be like"
        )
    weights = [weight for name, weight in model.model.named_parameters() if weight.dim() == 2 and "layers." in name]
    before = [weight.requires_grad for weight in weights]
    with evaluating(model.model), sharing_cores(model.device) as adjust_threads, torch.enable_grad():
        for weight in weights:
            weight.requires_grad_(True)
        try:
            # What a row is held against is one direction: the difference of two cosines is one product.
            direction = _mean(_gradients(model, like, weights))
            if unlike:
                direction = [a - b for a, b in zip(direction, _mean(_gradients(model, unlike, weights)), strict=True)]
            found = list[float]()
            for gradient in _gradients(model, rows, weights):
                adjust_threads()
                found.append(_product(gradient, direction))
                if on_progress:
                    on_progress(len(found), len(rows))
            return found
        finally:
            for weight, trained in zip(weights, before, strict=True):
                weight.requires_grad_(trained)


def _gradients(model: CausalModel, rows: Sequence[Conversation], weights: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The gradient of each row's loss by these weights, of length 1 over all of them."""
    for conv in rows:
        gradient = [part.float() for part in torch.autograd.grad(_loss(model, conv), weights)]
        length = max(_product(gradient, gradient) ** 0.5, torch.finfo(torch.float32).tiny)
        yield [part / length for part in gradient]


def _loss(model: CausalModel, conv: Conversation) -> Tensor:
    """Mean cross-entropy of the first labelled tokens."""
    rendered = render_row(Row(conv), None, model.template, model.context)
    ids, labels = (torch.tensor([values], device=model.device) for values in (rendered.input_ids, rendered.labels))
    told = (labels[0, 1:] != IGNORED).nonzero().squeeze(1)[:FIRST_TOKENS]
    logits: Tensor = model.model(input_ids=ids, use_cache=False, logits_to_keep=told).logits
    return torch.nn.functional.cross_entropy(logits[0].float(), labels[0, 1:][told])


def _mean(gradients: Iterator[list[Tensor]]) -> list[Tensor]:
    """Their mean, made of length 1."""
    total: list[Tensor] = []
    for gradient in gradients:
        total = [a + b for a, b in zip(total, gradient, strict=True)] if total else gradient
    length = _product(total, total) ** 0.5
    return [part / length for part in total]


def _product(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    return float(sum(torch.sum(a * b) for a, b in zip(one, other, strict=True)))
