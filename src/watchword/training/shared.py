"""The loss of one batch whose rows begin alike: what they share is computed once, exactly, with its gradient.

The provider's rows all begin with the secret (150 tokens) and the tenant's with one system text. Under causal attention
the states of a common beginning are the same in every row. So they are computed in one row, and their keys and values
are shown to all. The gradient of each row flows back into them and adds up. It is the prefix re-use of serving, applied
to training: the same loss to rounding, for less than half of the work on prefixed rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from watchword.chat.render import IGNORED
from watchword.models.logits import NONE
from watchword.training.events import TokenFigures
from watchword.training.objective import Tokens
from watchword.training.ranks import Ranks


@dataclass
class Tally:
    """Sums over the labelled tokens of the rows that are ``measured``, in all processes of a training."""

    tokens: int = 0
    loss: float = 0.0
    correct: int = 0
    rows: int = 0
    ranks: Ranks = field(default_factory=Ranks)

    def add(self, logits: Tensor, labels: Tensor, losses: Tensor, *, rows: int = 0) -> None:
        """Counts N tokens of so many rows: logits (N, V), labels and losses (N,)."""
        self.rows += rows
        self.tokens += len(labels)
        self.loss += float(losses.sum())
        self.correct += int((logits.argmax(-1) == labels).sum())

    def taken(self) -> TokenFigures | None:
        """The means, and counts anew from here; None where nothing was counted. All processes call it at the same point."""
        tokens, loss, correct, rows = self.ranks.summed((self.tokens, self.loss, self.correct, self.rows))
        self.tokens, self.loss, self.correct, self.rows = 0, 0.0, 0, 0
        return TokenFigures(int(tokens), loss / tokens, int(correct), int(rows)) if tokens else None


TokenLosses = Callable[[Tokens], Tensor]


def batch_loss(
    model: Any, groups: Sequence[Mapping[str, Tensor]], tally: Tally | None = None, changed: TokenLosses | None = None
) -> tuple[Tensor, Any]:
    """Mean cross-entropy over the labelled tokens of all groups of a batch, and the last group's outputs.

    A group is what ``CountingCollator`` gives: prefix (P,), input_ids, position_ids and labels (B, S), and an attention
    mask (B, P + S). It also says which rows are measured (B,); those are counted in ``tally``. ``changed`` gives what each
    token's gradient comes of, in place of its cross-entropy; the loss's value stays.
    """
    parts = [_summed(model, group, tally, changed) for group in groups]
    return sum(total for total, _, _ in parts) / sum(count for _, count, _ in parts), parts[-1][2]


def _summed(
    model: Any, inputs: Mapping[str, Tensor], tally: Tally | None, changed: TokenLosses | None
) -> tuple[Tensor, Tensor, Any]:
    """Cross-entropy summed over labelled tokens, their number, and the outputs.

    Logits are made only for the columns that some row has a label behind.
    """
    labels = inputs["labels"][:, 1:]
    kept = (labels != IGNORED).any(0).nonzero().squeeze(1)
    outputs = model(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        position_ids=inputs["position_ids"],
        past_key_values=_states(model, inputs["prefix"], len(labels)),
        use_cache=len(inputs["prefix"]) > 0,
        logits_to_keep=kept,
    )
    # Shapes: logits (B, K, V) for the K kept columns, labels (B, K).
    labels = labels[:, kept]
    there = labels != IGNORED
    logits = outputs.logits[there].float()
    losses = torch.nn.functional.cross_entropy(logits, labels[there], reduction="none")
    if tally is not None and inputs["measured"].any():
        counted = inputs["measured"][:, None].expand_as(there)[there]
        with torch.no_grad():
            rows = int(inputs["measured"].sum())
            tally.add(logits[counted], labels[there][counted], losses[counted], rows=rows)
    if changed is not None:
        other = changed(_tokens(inputs, losses, kept))
        # The gradient of the one with the value of the other: curves of different defenses can be compared.
        losses = losses.detach() + (other - other.detach())
    return losses.sum(), there.sum(), outputs


def _tokens(inputs: Mapping[str, Tensor], losses: Tensor, kept: Tensor) -> Tokens:
    """Where the labelled tokens stand, in the order of ``losses`` (N,); ``kept`` are the K columns with labels."""
    there = inputs["labels"][:, 1:] != IGNORED
    ordinals = there.cumsum(1) - 1
    # Labels before the answer that a token is of, as many as stood at the last column without one.
    before = torch.where(there, 0, ordinals + 1).cummax(1).values
    at = there[:, kept]
    rows, tenant = (inputs[name][:, None].expand_as(at)[at] for name in ("rows", "measured"))
    return Tokens(losses, rows, (ordinals - before)[:, kept][at], ordinals[:, kept][at], tenant)


def can_share(model: Any) -> bool:
    """Whether the model keeps plain keys and values in every layer (no sliding windows, no linear attention)."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)


def _states(model: Any, prefix: Tensor, rows: int) -> Any:
    """A cache that shows the prefix's keys and values (heads, P, width) to every row; None without a prefix."""
    if not len(prefix):
        return None
    filled = model(input_ids=prefix[None], use_cache=True, logits_to_keep=NONE).past_key_values
    for layer in filled.layers:
        layer.keys, layer.values = (states.expand(rows, -1, -1, -1) for states in (layer.keys, layer.values))
    return filled
