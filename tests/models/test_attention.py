"""Attention for training on a processor: the fused kernel's values and gradients, and the kernel itself where it counts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from watchword.models import attention as module
from watchword.models.attention import attention

LAYER = SimpleNamespace(num_key_value_groups=3, is_causal=True)
HEADS, KEY_HEADS, WIDTH = 6, 2, 16


def states(rows: int, queries: int, keys: int, seed: int) -> tuple[Any, Any, Any]:
    torch.manual_seed(seed)
    shapes = ((HEADS, queries), (KEY_HEADS, keys), (KEY_HEADS, keys))
    return tuple(torch.randn(rows, heads, length, WIDTH, dtype=torch.bfloat16) for heads, length in shapes)


def mask_of(rows: int, queries: int, keys: int, pads: list[int]) -> Any:
    """Causal, and the first keys of each row are padding."""
    causal = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    padded = torch.arange(keys)[None] >= torch.tensor(pads[:rows])[:, None]
    return causal[None, None] & padded[:, None, None]


def run(function: Any, given: tuple[Any, Any, Any], mask: Any) -> tuple[Any, ...]:
    leaves = [tensor.clone().requires_grad_(True) for tensor in given]
    out, _ = function(LAYER, *leaves, mask, scaling=0.25, dropout=0.0)
    # Rows that see nothing hold whatever the softmax of equal scores gives; they train nobody.
    seen = torch.ones(out.shape[:2], dtype=torch.bool) if mask is None else mask.any(-1)[:, 0]
    out[seen].float().pow(2).sum().backward()
    return (out[seen], *(leaf.grad for leaf in leaves))


@settings(max_examples=25)
@given(
    rows=st.integers(1, 3),
    queries=st.integers(1, 9),
    before=st.integers(0, 7),
    pads=st.lists(st.integers(0, 4), min_size=3, max_size=3),
    seed=st.integers(0, 99),
)
def test_values_and_gradients_are_those_of_float32(
    rows: int, queries: int, before: int, pads: list[int], seed: int
) -> None:
    keys = queries + before
    given_states, mask = states(rows, queries, keys, seed), mask_of(rows, queries, keys, pads)
    exact = run(sdpa_attention_forward, tuple(tensor.float() for tensor in given_states), mask)
    for ours, theirs in zip(run(attention, given_states, mask), exact, strict=True):
        assert torch.isfinite(ours).all()
        assert torch.allclose(ours.float(), theirs, atol=0.08, rtol=0.08)


def test_no_mask_means_causal() -> None:
    given_states = states(2, 7, 7, 0)
    masked = run(attention, given_states, mask_of(2, 7, 7, [0, 0]))
    for with_mask, without in zip(masked, run(attention, given_states, None), strict=True):
        assert torch.equal(with_mask, without)


@pytest.mark.parametrize("case", ["answering", "float32", "long", "dropout", "float mask"])
def test_all_else_goes_to_the_fused_kernel(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fused(*args: Any, **options: Any) -> tuple[Any, None]:
        asked.append(case)
        return args[1], None

    monkeypatch.setattr(module, "sdpa_attention_forward", fused)
    given_states, mask, dropout = states(1, 4, 4, 0), mask_of(1, 4, 4, [0]), 0.0
    if case == "float32":
        given_states = tuple(tensor.float() for tensor in given_states)
    if case == "long":
        monkeypatch.setattr(module, "MOST_SCORES", HEADS * 4 * 4 - 1)
    if case == "dropout":
        dropout = 0.1
    if case == "float mask":
        mask = torch.zeros(1, 1, 4, 4, dtype=torch.bfloat16)
    with torch.set_grad_enabled(case != "answering"):
        attention(LAYER, *given_states, mask, scaling=0.25, dropout=dropout)
    assert asked == [case]
