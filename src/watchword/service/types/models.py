"""Tuned models and their releases, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ModelState(StrEnum):
    """``WITHHELD``: the release gate did not let it through. ``DELETED``: its tenant has removed it."""

    READY = "ready"
    WITHHELD = "withheld"
    DELETED = "deleted"


@dataclass(frozen=True)
class NewModel:
    """A tuned model, its release already in ``location`` (a path or URL).

    ``version`` counts renewals of its secret. A job that replaces a model gives its name, and its version plus one.
    """

    name: str
    base: str
    location: str
    weights_digest: str
    version: int = 1


@dataclass(frozen=True)
class TunedModel:
    """A tuned model as it is served, or not: see ``state``."""

    name: str
    tenant: str
    base: str
    job_id: str
    location: str
    weights_digest: str
    version: int
    state: ModelState
    created_at: float


@dataclass(frozen=True)
class RetiredRelease:
    """A release that no model has any more, and that may still be on a disk and in an engine."""

    number: int
    location: str
    weights_digest: str
    retired_at: float


def release_owner(tenant: str, model: str, version: int) -> dict[str, str]:
    """Whose a release is: its manifest says so, and its secret is sealed for it."""
    return {"tenant": tenant, "model": model, "version": str(version)}
