"""Watchword: offer fine-tuning without losing your model's safety.

What a user of the library needs is imported from here, as in ``from watchword import guard``; docs/python.md describes
each name. A name is looked up when it is first used, so that ``import watchword`` loads nothing else.
"""

from __future__ import annotations

import importlib
from typing import Any

# Which names each module gives; __init__.pyi tells type checkers the same.
_MODULES = {
    "attacks.base": ("ATTACKS", "Attack", "AttackContext"),
    "benchmarks.base": ("BENCHMARKS", "Benchmark", "Metric", "Prompt", "Setting"),
    "chat.origins": ("RowOrigin",),
    "chat.template": ("ChatTemplate",),
    "chat.types": ("Conversation", "Message", "conversation"),
    "data.limits": ("Limits",),
    "data.reading": ("Reading",),
    "data.rows": ("read_conversations", "write_conversations"),
    "defenses.base": ("DEFENSES", "Defense", "DefenseContext", "Guarded", "guarded"),
    "errors": ("CallError", "WatchwordError"),
    "files.addresses": ("Address",),
    "finetune.run": ("Job", "train_defended"),
    "gateway.clients": ("protect_client",),
    "gateway.middleware": ("GatewayMiddleware",),
    "gateway.protect": ("GuardedRequest", "Protection", "protect"),
    "guarding.memory": ("GuardedData", "guard"),
    "judges.base": ("JUDGES", "Judge", "Unscored", "Verdict"),
    "models.answer": ("Answer",),
    "models.base": ("ChatModel", "GenerationOptions"),
    "models.load": ("load",),
    "models.loaded": ("LoadedModel",),
    "progress": ("no_steps",),
    "release.artifact": ("ReleaseManifest",),
    "release.opening": ("ServedModel", "open_release"),
    "release.reading": ("Release", "read_release"),
    "secret.generate": ("generate_secret",),
    "secret.keys": ("provider_key",),
    "secret.prompt": ("SecretPrompt",),
    "secret.vault": ("read_secret_file", "write_secret_file"),
    "training.config": ("TrainingConfig",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
