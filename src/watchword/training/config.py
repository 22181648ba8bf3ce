"""The settings of a fine-tuning run; torch-free, so that specs and command lines can hold them."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from watchword.errors import UsageError

Batching = Literal["length", "mixed", "beginning"]
# What NumPy takes as a seed.
MOST_SEED = 2**32 - 1


class TrainingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Hyper-parameters of one run. Defaults break the default model with 100 rows (results/batches_of_ten).

    ``learning_rate`` is the peak after warm-up; ``batch_size`` counts rows of one optimiser step. ``max_length`` is in
    tokens, and a longer row is an error, never cut. ``batches`` are of like length, of rows of all kinds (``mixed``),
    or of rows that begin alike (see ``training.rows.Batches``). The paper uses r 8 on q_proj and v_proj at 1e-3 for a
    7B model; a 135M model needs all linear layers.
    """

    method: Literal["lora", "full"] = "lora"
    epochs: int = 5
    learning_rate: float = 5e-4
    batch_size: int = 10
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup_steps: int = 2
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    lora_rank: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    max_length: int = 2048
    batches: Batching = "length"
    checkpoint_steps: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "learning_rate", "batch_size", "lora_rank", "lora_alpha", "max_length"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"training: {name} is {getattr(self, name)}; it must be greater than 0", param=name)
        if self.checkpoint_steps is not None and self.checkpoint_steps < 1:
            raise UsageError(
                f"training: checkpoint_steps is {self.checkpoint_steps}; it must be at least 1",
                param="checkpoint_steps",
            )
        if not 0 <= self.seed <= MOST_SEED:
            raise UsageError(f"training: seed is {self.seed}; it must be between 0 and {MOST_SEED}", param="seed")
        if not 0 <= self.lora_dropout < 1:
            raise UsageError(
                f"training: lora_dropout is {self.lora_dropout}; it must be at least 0 and less than 1",
                param="lora_dropout",
            )


class TrainingResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run cost and how it went. ``tokens`` counts the tokens processed, padding apart; ``loss`` is one value a step.

    ``dropped`` counts the tenant's rows by what the template left out of them. ``trained`` counts tokens over all epochs
    by the origin of their rows, ``labelled`` those of them that the loss falls on. An empty count is not written, so that
    manifests signed before there was such a count still hold.
    """

    seconds: float
    tokens: int
    tokens_per_second: float
    steps: int
    loss: list[float]
    rows: dict[str, int]
    dropped: dict[str, int] = {}
    trained: dict[str, int] = {}
    labelled: dict[str, int] = {}
