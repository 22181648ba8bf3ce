"""What a model folder may bring: weights as safetensors, inside the folder. Code and pickled files are refused.

Pickled files can run code while they are read. Whatever is refused here, no library has opened yet.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import Any

from watchword.errors import ModelUnavailableError

CONFIG, ADAPTER_CONFIG, ADAPTER_WEIGHTS = "config.json", "adapter_config.json", "adapter_model.safetensors"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# Files of ours and of trainers that end in .bin and hold no weights.
_NO_WEIGHTS = frozenset({"training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"})


def check_model_folder(folder: Path, name: str) -> None:
    """Raises ModelUnavailableError unless all weights are safetensors that lie in the folder itself."""
    if not list(folder.glob("*.safetensors")):
        raise ModelUnavailableError(
            f"the model {name!r} has no weights as *.safetensors{_pickled(folder)}; only these are loaded. Where you trust "
            'the files, convert them: python -c "from transformers import AutoModelForCausalLM as M; '
            "M.from_pretrained('DIR').save_pretrained('NEW')\" (and copy the tokenizer's files)"
        )
    if (named := _object(folder / CONFIG).get("transformers_weights")) is not None:
        raise ModelUnavailableError(
            f"the file takes the weights from {named!r} (transformers_weights); name them model.safetensors, and take "
            "the entry out",
            path=folder / CONFIG,
        )
    for index in sorted(folder.glob("*.safetensors.index.json")):
        _check_shards(index)


def check_adapter(folder: Path, name: str) -> None:
    """Raises ModelUnavailableError unless this is a whole LoRA adapter in safetensors and nothing else."""
    for needed in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if (folder / needed).is_file():
            continue
        if needed == ADAPTER_WEIGHTS and (found := _pickled(folder)):
            raise ModelUnavailableError(
                f"the adapter for {name!r} has no {ADAPTER_WEIGHTS}{found}; only safetensors are loaded. Where you "
                f'trust the file, convert it: python -c "import torch, safetensors.torch as s; s.save_file(torch.load('
                f"'adapter_model.bin', weights_only=True), '{ADAPTER_WEIGHTS}')\"",
                path=folder,
            )
        raise ModelUnavailableError(
            f"the adapter for {name!r} is not complete: {needed} is missing; "
            "name a folder that training has finished, or install watchword again if the adapter came with it",
            path=folder,
        )
    config = _object(folder / ADAPTER_CONFIG)
    # Other kinds of adapter may name tokenizers, models or modules of their own, which PEFT then loads.
    if config.get("peft_type") != "LORA" or config.get("megatron_config"):
        raise ModelUnavailableError(
            f"this is no plain LoRA adapter (peft_type {config.get('peft_type')!r}); only LoRA is loaded",
            path=folder / ADAPTER_CONFIG,
        )


def _check_shards(index: Path) -> None:
    shards = _object(index).get("weight_map")
    for name in shards.values() if isinstance(shards, dict) else ():
        if not isinstance(name, str) or PurePath(name).name != name or not name.endswith(".safetensors"):
            raise ModelUnavailableError(
                f"the index names {name!r}, which is no *.safetensors file in the same folder; move it there and name it so",
                path=index,
            )


def _pickled(folder: Path) -> str:
    """The pickled weights of a folder in words; empty where there are none."""
    found = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLED and path.name not in _NO_WEIGHTS)
    return f", only pickled ones, which could run code ({', '.join(found[:3])})" if found else ""


def _object(file: Path) -> dict[str, Any]:
    """The JSON object in a file. What is no JSON is told by whoever loads it."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
