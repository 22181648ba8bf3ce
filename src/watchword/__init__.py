"""Watchword: offer fine-tuning without losing your model's safety."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from watchword.guarding.memory import guard

__all__ = ["guard"]


def __getattr__(name: str) -> Any:
    # Looked up when it is first used, so that importing watchword loads nothing else.
    if name == "guard":
        from watchword.guarding.memory import guard

        return guard
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
