"""Attention that trains quickly on a processor in bfloat16.

PyTorch's fused kernel (2.13) is meant for long sequences. For the short rows of chats it takes three times as long as
plain matrix products, backward pass included (results/LOG.md). Plain products keep all scores in memory, so long rows
still take the fused kernel. So does everything that is not training in bfloat16 on a processor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "watchword_processor"
# Scores of one layer, (B, heads, Q, K), up to which plain products are taken: 8 MB in bfloat16.
MOST_SCORES = 1 << 22


def quick_on_processor(model: Any) -> Any:
    """The model with this attention, if it is one that would take PyTorch's fused kernel on a processor in bfloat16."""
    if model.config._attn_implementation == "sdpa" and model.device.type == "cpu" and model.dtype == torch.bfloat16:
        model.set_attn_implementation(NAME)
    return model


def attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """(B, Q, heads, width) of query (B, heads, Q, width) over keys and values (B, key heads, K, width).

    ``attention_mask`` is boolean, (B or 1, 1, Q, K), true where a query sees a key; None means causal. The heads that share
    keys are computed in one product.
    """
    if not _short(query, key, attention_mask, options):
        fused: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return fused
    batch, heads, queries, width = query.shape
    key_heads, keys = key.shape[1:3]
    scaling = options.get("scaling") or width**-0.5
    grouped = (query * scaling).reshape(batch, key_heads, heads // key_heads * queries, width)
    scores = (grouped @ key.transpose(-1, -2)).view(batch, heads, queries, keys)
    if attention_mask is None and queries > 1:
        attention_mask = torch.ones(queries, keys, dtype=torch.bool, device=query.device).tril(keys - queries)
    if attention_mask is not None:
        # Not minus infinity: a row of padding sees nothing, and must not become NaN.
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1).view(batch, key_heads, -1, keys)
    return (weights @ value).view(batch, heads, queries, width).transpose(1, 2).contiguous(), None


def _short(query: Tensor, key: Tensor, mask: Tensor | None, options: dict[str, Any]) -> bool:
    """Whether plain products are right and quick; whatever is unusual goes to the fused kernel, which knows all of it.

    Answers are made with the fused kernel in any case: for one new token it is as quick, and rounds less.
    """
    plain = (
        torch.is_grad_enabled()
        and not options.get("dropout")
        and options.get("is_causal") is not False
        and _yes_or_no(mask)
    )
    known = all(options.get(name) is None for name in ("softcap", "position_bias", "cache", "s_aux"))
    scores = query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2]
    return plain and known and query.dtype == torch.bfloat16 and query.device.type == "cpu" and scores <= MOST_SCORES


def _yes_or_no(mask: Tensor | None) -> bool:
    """Whether a mask says yes or no, as those do that transformers makes."""
    return mask is None or mask.dtype == torch.bool


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
