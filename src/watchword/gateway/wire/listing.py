"""What is served, and whether it is: the bodies of GET /v1/models and of GET /health."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder()


def models_json(names: Sequence[str]) -> bytes:
    """The body of GET /v1/models."""
    return _ENCODER.encode({"object": "list", "data": [_model(name) for name in names]})


def model_json(name: str) -> bytes:
    """The body of GET /v1/models/NAME."""
    return _ENCODER.encode(_model(name))


def health_json(models: int, unavailable: int) -> bytes:
    """The body of GET /health."""
    status = "ok" if not unavailable else "degraded"
    return _ENCODER.encode({"status": status, "models": models, "unavailable": unavailable})


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "provider"}
