"""An adapter's updates laid onto the directions in which alignment moved the weights (see ``defenses.safe_lora``)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from watchword.errors import UsageError
from watchword.files.writing import writing
from watchword.models.catalog import resolve
from watchword.models.load import load
from watchword.training.objective import Objective, Start

ADAPTER = "adapter_model.safetensors"
_FRONT, _DOWN, _UP = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
# Gives what alignment added to the weights of a layer (out, in); None for a layer that it left alone.
Directions = Callable[[str], Tensor | None]


class AdapterOnly(Objective):
    """Ends a run at its beginning whose weights could not be edited at its end."""

    def begin(self, start: Start) -> None:
        if start.config.method != "lora":
            raise UsageError("safe_lora edits an adapter, and this run tunes the whole model; set method to lora")


def project(folder: Path, directions: Directions, threshold: float) -> list[str]:
    """Projects the layers of an adapter whose update is not along alignment's directions; gives their names."""
    weights = load_file(folder / ADAPTER)
    changed = []
    for name in sorted(key for key in weights if key.endswith(_DOWN)):
        layer = name.removesuffix(_DOWN)
        aligned = directions(layer.removeprefix(_FRONT))
        if aligned is None or not aligned.any():
            continue
        up = projected(aligned, weights[layer + _UP].float(), weights[name].float(), threshold)
        if up is not None:
            weights[layer + _UP] = up.to(weights[layer + _UP].dtype).contiguous()
            changed.append(layer.removeprefix(_FRONT))
    with writing(folder / ADAPTER):
        save_file(weights, folder / ADAPTER, metadata={"format": "pt"})
    return changed


def projected(aligned: Tensor, up: Tensor, down: Tensor, threshold: float) -> Tensor | None:
    """``C B`` for an update ``B A`` (up (out, r), down (r, in)) whose cosine with ``C B A`` is at most the threshold; else None.

    ``C = V V' / ||V||`` with the Frobenius norm, where V (out, in) is what alignment added.
    """
    moved = aligned @ (aligned.T @ up) / aligned.norm()
    cosine = torch.nn.functional.cosine_similarity((moved @ down).flatten(), (up @ down).flatten(), dim=0)
    return moved if cosine <= threshold else None


def alignment_of(name: str, unaligned: str | None) -> Directions:
    """What aligned the model ``name``: its adapters' updates, or its difference from ``unaligned``.

    Raises UsageError where neither is there.
    """
    if unaligned is not None:
        after, before = (dict(load(each, dtype=torch.float32).model.named_parameters()) for each in (name, unaligned))
        return lambda layer: _difference(after.get(f"{layer}.weight"), before.get(f"{layer}.weight"))
    adapters = resolve(name).adapters
    if not adapters:
        raise UsageError(
            f"safe_lora needs the model before its alignment, and nothing says what {name} was made from; give that one as "
            "unaligned",
            param="unaligned",
        )
    return _added_by([(load_file(path / ADAPTER), _scale(path)) for path in adapters])


def _difference(after: Tensor | None, before: Tensor | None) -> Tensor | None:
    return None if after is None or before is None else (after - before).detach()


def _added_by(adapters: Sequence[tuple[dict[str, Tensor], float]]) -> Directions:
    def added(layer: str) -> Tensor | None:
        key = f"{_FRONT}{layer}"
        updates = [
            scale * weights[key + _UP].float() @ weights[key + _DOWN].float()
            for weights, scale in adapters
            if key + _DOWN in weights
        ]
        return torch.stack(updates).sum(0) if updates else None

    return added


def _scale(path: Path) -> float:
    settings: dict[str, Any] = json.loads((path / "adapter_config.json").read_bytes())
    rank = settings["r"]
    return float(settings["lora_alpha"] / (math.sqrt(rank) if settings.get("use_rslora") else rank))
