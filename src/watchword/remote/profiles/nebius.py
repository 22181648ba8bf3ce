"""Nebius Token Factory: OpenAI's shape, open-weight models, and the settings of LoRA among the hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from watchword.remote.profiles.base import BATCH_SIZE, EPOCHS, GIBIBYTE, MULTIPLIER, Bounds, Profile


class NebiusProfile(Profile):
    title = "Nebius"
    url = "https://api.tokenfactory.nebius.com/v1"
    key_env = "NEBIUS_API_KEY"
    hyperparameters: ClassVar[Mapping[str, Bounds]] = {
        "n_epochs": EPOCHS,
        "batch_size": BATCH_SIZE,
        "learning_rate": Bounds(1e-9, 1, whole=False, may_be_auto=False),
        "learning_rate_multiplier": MULTIPLIER,
        "warmup_ratio": Bounds(0, 1, whole=False, may_be_auto=False),
        "weight_decay": Bounds(0, 1, whole=False, may_be_auto=False),
        "lora_r": Bounds(1, 128, may_be_auto=False),
        "lora_alpha": Bounds(1, 256, may_be_auto=False),
        "lora_dropout": Bounds(0, 1, whole=False, may_be_auto=False),
        "context_length": Bounds(1, 131_072, may_be_auto=False),
    }
    # A row must see its own secret and no other row; only an adapter can be served beside the base model.
    fixed: ClassVar[Mapping[str, Any]] = {"packing": False, "lora": True}
    most_bytes = 5 * GIBIBYTE
    metadata = False
    in_method = False
    retention = "Nebius keeps an uploaded file until it is deleted."
