"""A LoRA adapter's settings beside its weights: written alike by every process, and made stronger after a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from peft.tuners.lora import LoraLayer

from watchword.files.atomic import replacing

_SETTINGS = "adapter_config.json"


def write_settings(folder: Path, **changes: Any) -> None:
    """The settings in ``folder`` with these changed.

    PEFT lists the adapted layers in an order that changes from process to process, and with it the digest of the whole
    adapter. Here they are sorted.
    """
    path = folder / _SETTINGS
    settings = {**msgspec.json.decode(path.read_bytes()), **changes}
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
