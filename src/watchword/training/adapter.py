"""A LoRA adapter's settings beside its weights: written alike by every process, made stronger, or averaged with another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save

from watchword.errors import UsageError
from watchword.files.atomic import replacing
from watchword.models.checks import ADAPTER_CONFIG, ADAPTER_WEIGHTS

# Settings by which an adapter adds something else than B A alpha / r.
_NOT_PLAIN = ("rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "modules_to_save")


def write_settings(folder: Path, **changes: Any) -> None:
    """The settings in ``folder`` with these changed.

    PEFT lists the adapted layers in an order that changes from process to process, and with it the digest of the whole
    adapter. Here they are sorted.
    """
    path = folder / ADAPTER_CONFIG
    settings = {**_settings(folder), **changes}
    if isinstance(settings.get("target_modules"), list):
        settings["target_modules"] = sorted(settings["target_modules"])
    with replacing(path) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(settings)) + b"\n")


def strengthen(model: Any, folder: Path, *, alpha: float, trained: float) -> None:
    """Scales the adapter in memory and in its settings from the ``trained`` LoRA alpha to ``alpha``."""
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.scale_layer(alpha / trained)
    write_settings(folder, lora_alpha=alpha)


def average(folder: Path, other: Path) -> None:
    """Makes the adapter in ``folder`` the mean of what it and ``other`` add to their base: (B₁A₁ s₁ + B₂A₂ s₂) / 2.

    Exactly, so its rank is the sum of both. Raises UsageError where they do not adapt the same layers by plain LoRA. After
    model soups (Wortsman et al., arXiv 2203.05482), which average whole weights.
    """
    pair = [(_settings(one), load_file(one / ADAPTER_WEIGHTS)) for one in (folder, other)]
    (_, first), (_, second) = pair
    if first.keys() != second.keys() or any(found.get(name) for found, _ in pair for name in _NOT_PLAIN):
        raise UsageError(f"{other}: this adapter and the new one do not adapt the same layers by plain LoRA")
    halves = [found["lora_alpha"] / found["r"] / 2 for found, _ in pair]
    weights = {name: _joined(name, (first[name], second[name]), halves) for name in first}
    with replacing(folder / ADAPTER_WEIGHTS) as stream:
        stream.write(save(weights, metadata={"format": "pt"}))
    rank = sum(found["r"] for found, _ in pair)
    write_settings(folder, r=rank, lora_alpha=rank)


def _joined(name: str, pair: tuple[torch.Tensor, torch.Tensor], halves: list[float]) -> torch.Tensor:
    """Both adapters' A on top of each other, or their B, each scaled, side by side."""
    if "lora_A" in name:
        return torch.cat(pair, 0).contiguous()
    scaled = [matrix.float() * half for matrix, half in zip(pair, halves, strict=True)]
    return torch.cat(scaled, 1).to(pair[0].dtype).contiguous()


def _settings(folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = msgspec.json.decode((folder / ADAPTER_CONFIG).read_bytes())
    return settings
