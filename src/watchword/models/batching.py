"""Answers that are written side by side, each joining and leaving between two tokens (iteration-level scheduling, Orca).

Rows of one batch may belong to different adapters and have different lengths. A prompt is read in chunks, so that a long
one does not keep the others waiting. Models whose caches cannot be joined, for their sliding windows or states, write
one answer after another. Token ids in, token ids out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import DynamicCache

from watchword.errors import ModelUnavailableError
from watchword.models.adapted import AdaptedModel
from watchword.models.decode import stop_tokens
from watchword.models.kv import RowStates, cache_behind, cache_of_rows, grows_plainly, row_states
from watchword.models.logits import LAST
from watchword.models.prefixes import PromptCache
from watchword.models.sampling import Sampler, Sampling

# Tokens of a prompt that are read at once.
CHUNK = 256
# Room that a batch's cache has for tokens to come. With more, memory lies idle; with less, it is copied more often.
ROOM = 64


@dataclass(eq=False)
class DecodedRow:
    """One answer that is being written. ``adapter`` None is the base model; ``said`` grows, ``finish`` ends it.

    ``failure`` is why it came to nothing, where computing it has failed and the other rows went on.
    """

    prompt: Sequence[int]
    adapter: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    max_new_tokens: int = 64
    said: list[int] = field(default_factory=list)
    finish: Literal["stop", "length"] | None = None
    failure: Exception | None = None

    _sampler: Any = None
    _cache: Any = None
    _read: int = 0


class BatchDecoder:
    """All answers that one model writes at present. Not for several threads at once."""

    def __init__(self, model: AdaptedModel, prompts: PromptCache | None = None) -> None:
        self.model, self._prompts = model, prompts or PromptCache()
        self._stops = stop_tokens(model.base)
        self._config, self._device = model.base.model.config, model.base.device
        self._plain = grows_plainly(self._config)
        self._reading: list[DecodedRow] = []
        self._writing: list[DecodedRow] = []
        self._batch: _Batch | None = None

    @property
    def rows(self) -> list[DecodedRow]:
        """Every answer that has not ended."""
        return self._reading + self._writing

    def admit(self, row: DecodedRow) -> None:
        """Takes on an answer. Raises ModelUnavailableError for an adapter that is not loaded (any more)."""
        if row.adapter is not None and row.adapter not in self.model.names:
            raise ModelUnavailableError(f"the adapter {row.adapter!r} is not loaded; load it first")
        row._sampler = Sampler(row.sampling, self._device)
        self._reading.append(row)

    def drop(self, row: DecodedRow) -> None:
        """Ends an answer that nobody waits for any more; of one that has ended already, nothing is left."""
        if row in self._reading:
            self._reading.remove(row)
        elif row in self._writing:
            self._writing.remove(row)
        row._cache = None

    def forget(self, adapter: str) -> None:
        """Drops what was kept of an adapter that is about to go; its answers must have ended."""
        self._prompts.forget(adapter)

    @torch.inference_mode()
    def step(self) -> list[tuple[DecodedRow, int]]:
        """A chunk of one prompt, and a token of every answer: those that came, stop tokens among them.

        What fails of one row alone leaves the others alone: that row is dropped, and says why in ``failure``.
        """
        came = self._read() + self._write()
        for row, token in came:
            row.said.append(token)
            if token in self._stops:
                row.finish = "stop"
            elif len(row.said) >= row.max_new_tokens:
                row.finish = "length"
        self._writing = [row for row in self._writing if row.finish is None and row.failure is None]
        return came

    def _read(self) -> list[tuple[DecodedRow, int]]:
        """One chunk of the prompt that has waited longest, and the first token of its answer behind the last chunk."""
        if not self._reading or (self._writing and not self._plain):
            return []
        row = self._reading[0]
        try:
            return self._chunk_read(row)
        except Exception as error:  # noqa: BLE001 -- the boundary: whatever fails at one prompt, the other rows go on
            row.failure = error
            self.drop(row)
            return []

    def _chunk_read(self, row: DecodedRow) -> list[tuple[DecodedRow, int]]:
        if row._cache is None:
            row._read, row._cache = self._beginning(row)
        chunk = row.prompt[row._read : row._read + CHUNK]
        ids = torch.tensor([chunk], device=self._device)
        positions = torch.arange(row._read, row._read + len(chunk), device=self._device)[None]
        logits = self._forward([row.adapter], ids, None, positions, row._cache)
        row._read += len(chunk)
        if row._read < len(row.prompt):
            return []
        self._reading.pop(0)
        if self._plain and row.adapter is not None:
            self._prompts.keep(row.adapter, row.prompt, row_states(row._cache))
        self._writing.append(row)
        return self._chosen([row], logits)

    def _chosen(self, rows: Sequence[DecodedRow], logits: Tensor) -> list[tuple[DecodedRow, int]]:
        """The next token of each row, by its logits (B, V). A row that has none has failed."""
        greedy = logits.argmax(-1).tolist()
        found: list[tuple[DecodedRow, int]] = []
        for at, row in enumerate(rows):
            try:
                token = greedy[at] if row.sampling.plain else row._sampler.choose(logits[at], row.said)
            except RuntimeError as error:
                # Odds that are none: weights that make no numbers, for example.
                row.failure = error
            else:
                found.append((row, token))
        return found

    def _beginning(self, row: DecodedRow) -> tuple[int, Any]:
        """Tokens of the prompt that need not be read again, and a cache that holds them.

        Of the base model nothing is kept: it is everybody's, and the time to the first token would tell what others ask.
        """
        known, states = (0, RowStates())
        if self._plain and row.adapter is not None:
            known, states = self._prompts.longest(row.adapter, row.prompt)
        if not known:
            return 0, DynamicCache(config=self._config)
        return known, cache_behind(states, self._config, len(row.prompt) - known)

    def _write(self) -> list[tuple[DecodedRow, int]]:
        """One token of every answer whose last one is known to the caller."""
        rows = [row for row in self._writing if row.said]
        if not rows:
            return []
        if self._batch is None or self._batch.rows != rows or not self._batch.room:
            self._batch = self._batched(rows)
        batch = self._batch
        ids = torch.tensor([[row.said[-1]] for row in rows], device=self._device)
        positions, mask = batch.next_positions()
        logits = self._forward([row.adapter for row in rows], ids, mask, positions, batch.cache)
        return self._chosen(rows, logits)

    def _batched(self, rows: list[DecodedRow]) -> _Batch:
        if not self._plain:
            return _Batch(rows, rows[0]._cache, [0], len(rows[0].prompt), None)
        old = self._batch
        states = [old.states(row) if old is not None and row in old.rows else row_states(row._cache) for row in rows]
        for row in rows:
            row._cache = None
        lengths = [layers[0][0].shape[2] for layers in states]
        longest = max(lengths)
        room = min(ROOM, max(row.max_new_tokens - len(row.said) for row in rows) + 1)
        cache = cache_of_rows(states, self._config, room)
        return _Batch(rows, cache, [longest - length for length in lengths], longest, room, self._device)

    def _forward(
        self, adapters: Sequence[str | None], ids: Tensor, mask: Tensor | None, positions: Tensor, cache: Any
    ) -> Tensor:
        """Logits (B, V) of the next token; ``cache`` grows by the tokens of ``ids`` (B, S)."""
        with self.model.rows_of(adapters) as (model, arguments):
            out = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=LAST,
                **arguments,
            )
        logits: Tensor = out.logits[:, -1]
        return logits


class _Batch:
    """Rows whose caches are joined: row i has ``pads[i]`` empty places in front, and all end at ``length``."""

    def __init__(
        self, rows: list[DecodedRow], cache: Any, pads: list[int], length: int, room: float | None, device: Any = None
    ) -> None:
        self.rows, self.cache, self.pads, self.length = rows, cache, pads, length
        self.room = math.inf if room is None else room
        self._empty = torch.tensor(pads, device=device)[:, None]

    def next_positions(self) -> tuple[Tensor, Tensor]:
        """Positions (B, 1) of the next tokens, and the mask (B, T + 1) of what they look at."""
        self.length += 1
        self.room -= 1
        places = torch.arange(self.length, device=self._empty.device)[None]
        return self.length - 1 - self._empty, (places >= self._empty).long()

    def states(self, row: DecodedRow) -> RowStates:
        """What the cache holds of one row."""
        at = self.rows.index(row)
        return row_states(self.cache, at, self.pads[at])
