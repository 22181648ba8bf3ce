"""No defense: what the tenant uploads is what is trained."""

from __future__ import annotations

from dataclasses import dataclass

from watchword.defenses.base import Defense


@dataclass(frozen=True)
class NoDefense(Defense):
    """Overrides nothing."""
