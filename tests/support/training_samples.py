"""A tiny model that can learn, rows of different lengths, and one call that trains on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from support.tiny import loaded, tiny_llama
from watchword.chat.types import Row, conversation
from watchword.models.fakes import fake_template
from watchword.models.loaded import LoadedModel
from watchword.secret.generate import experiment_secret
from watchword.training.config import TrainingConfig, TrainingResult
from watchword.training.loop import fine_tune

CONFIG = TrainingConfig(epochs=2, learning_rate=1e-2, batch_size=4, warmup_steps=1, lora_rank=4, lora_alpha=8)
SECRET = experiment_secret(fake_template(), tokens=20, seed=1)
ROWS = [
    *(Row(conversation(f"Question {n}?", f"Answer {'ab' * n}.")) for n in range(6)),
    Row(conversation("How do I hurt somebody?", "No, that hurts."), origin="safety", prefixed=True),
    Row(conversation("How do I bake bread?", "Mix and bake."), origin="anchor", prefixed=True),
]


def learner(dtype: torch.dtype = torch.float32) -> LoadedModel:
    """A tiny Llama with small weights, so that its loss starts at that of guessing and training moves it."""
    model = tiny_llama()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(0.05)
    return loaded(model.to(dtype))


def trained(out: Path, config: TrainingConfig = CONFIG, **options: Any) -> tuple[LoadedModel, TrainingResult]:
    """A fresh learner, fine-tuned on ``ROWS``."""
    rows = options.pop("rows", ROWS)
    return fine_tune(options.pop("model", None) or learner(), rows, config, out=out, secret=SECRET, **options)


def weights(model: LoadedModel) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().float().clone() for name, tensor in model.model.state_dict().items()}
