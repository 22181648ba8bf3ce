"""Keys and values of the prefix that all prompts share, and a cache that grows in place."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from watchword.models.logits import NONE


@dataclass(frozen=True)
class SharedPrefix:
    """The first ``length`` tokens of every prompt, prefilled. ``layers`` is a cache of one row."""

    length: int
    filled: Any
    config: Any

    @classmethod
    def of(cls, model: Any, prompts: Sequence[Sequence[int]]) -> SharedPrefix:
        """Prefills what all prompts share, and leaves each at least one token of its own."""
        length = shared_length(prompts)
        cache = DynamicCache(config=model.config)
        if length:
            ids = torch.tensor([list(prompts[0][:length])], device=model.device)
            model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=NONE)
        return cls(length, cache, model.config)

    def cache(self, rows: int, room: int) -> Any:
        """A cache for ``rows`` rows that holds the prefix, with room for ``room`` more tokens."""
        if not self.length or any(type(layer) is not DynamicLayer for layer in self.filled.layers):
            # Sliding windows and linear attention keep state of their own: let transformers copy it.
            cache = copy.deepcopy(self.filled)
            if self.length:
                cache.batch_repeat_interleave(rows)
            return cache
        cache = DynamicCache(config=self.config)
        cache.layers = [InPlaceLayer(layer.keys, layer.values, rows, room) for layer in self.filled.layers]
        return cache


class InPlaceLayer(DynamicLayer):
    """Keys and values of one layer, (B, heads, T, width), in buffers allocated once for the prefix and all that follows."""

    def __init__(self, keys: Tensor, values: Tensor, rows: int, room: int) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.length = keys.shape[2]
        self._keys, self._values = _buffer(keys, rows, room), _buffer(values, rows, room)
        self._show()

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Writes the new states behind the old ones; returns views of all of them."""
        end = self.length + key_states.shape[2]
        self._keys[:, :, self.length : end] = key_states
        self._values[:, :, self.length : end] = value_states
        self.length = end
        self._show()
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps these rows only."""
        self._keys, self._values = self._keys[indices], self._values[indices]
        self._show()

    def _show(self) -> None:
        self.keys, self.values = self._keys[:, :, : self.length], self._values[:, :, : self.length]


# Keys and values of one row, (1, heads, T, width) each, layer by layer.
RowStates = list[tuple[Tensor, Tensor]]


def row_states(cache: Any, row: int = 0, start: int = 0) -> RowStates:
    """Views of what a cache holds of one row, from position ``start`` on."""
    return [(layer.keys[row : row + 1, :, start:], layer.values[row : row + 1, :, start:]) for layer in cache.layers]


def cache_behind(states: RowStates, config: Any, room: int) -> Any:
    """A cache of one row that holds copies of these states, with room for ``room`` more tokens."""
    cache = DynamicCache(config=config)
    cache.layers = [InPlaceLayer(keys, values, 1, room) for keys, values in states]
    return cache


def cache_of_rows(rows: Sequence[RowStates], config: Any, room: int) -> Any:
    """One cache for rows of different lengths: each ends where the longest does, behind room left empty in front."""
    cache = DynamicCache(config=config)
    cache.layers = [_layer_of_rows(layers, room) for layers in zip(*rows, strict=True)]
    return cache


def grows_plainly(config: Any) -> bool:
    """Whether all layers look at all tokens, so that rows can be joined and cut; sliding windows and states cannot."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=config).layers)


def _layer_of_rows(layers: Sequence[tuple[Tensor, Tensor]], room: int) -> InPlaceLayer:
    longest = max(keys.shape[2] for keys, _ in layers)
    joined = [_right_aligned([pair[kind] for pair in layers], longest) for kind in (0, 1)]
    return InPlaceLayer(joined[0], joined[1], len(layers), room)


def _right_aligned(states: Sequence[Tensor], longest: int) -> Tensor:
    """(1, heads, T, width) each → (rows, heads, longest, width)."""
    _, heads, _, width = states[0].shape
    joined = states[0].new_zeros(len(states), heads, longest, width)
    for row, one in enumerate(states):
        joined[row, :, longest - one.shape[2] :] = one[0]
    return joined


def shared_length(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that all prompts have in common at the start, one less than the shortest prompt at most."""
    return min(common_length(prompts), min(map(len, prompts)) - 1)


def common_length(rows: Sequence[Sequence[int]]) -> int:
    """Tokens that all rows begin with."""
    columns = zip(*rows, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, columns))


def _buffer(states: Tensor, rows: int, room: int) -> Tensor:
    """(1, heads, P, width) → (rows, heads, P + room, width), the prefix copied into each row."""
    _, heads, length, width = states.shape
    buffer = states.new_empty(rows, heads, length + room, width)
    buffer[:, :, :length] = states
    return buffer
