"""A LoRA adapter made stronger after its training: its weights stay, their scale grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from peft.tuners.lora import LoraLayer

from watchword.files.atomic import replacing


def strengthen(model: Any, folder: Path, *, alpha: float, trained: float) -> None:
    """Scales the adapter in memory and in its settings from the ``trained`` LoRA alpha to ``alpha``."""
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.scale_layer(alpha / trained)
    path = folder / "adapter_config.json"
    settings = {**msgspec.json.decode(path.read_bytes()), "lora_alpha": alpha}
    with replacing(path) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(settings)) + b"\n")
