"""A finished release as a model that may be served."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from watchword.defenses.base import DEFENSES, Defense
from watchword.errors import UnsealError
from watchword.models.digest import model_digest
from watchword.models.load import load
from watchword.models.loaded import LoadedModel
from watchword.release.artifact import (
    ReleaseManifest,
    open_secret,
    signed_manifest,
)
from watchword.secret.prompt import SecretPrompt


@dataclass(frozen=True)
class Served:
    """A defended model ready to answer: every request goes through ``defense.guard_prompt`` with ``secret``."""

    model: LoadedModel
    defense: Defense
    manifest: ReleaseManifest
    secret: SecretPrompt | None = field(default=None, repr=False)


def open_release(folder: Path, *, key: bytes) -> Served:
    """A finished folder as a model that may be served. Fails closed: see ``release.artifact``.

    Whatever the manifest names is looked up and loaded only once the manifest itself is known to be the provider's.
    """
    manifest = signed_manifest(folder, key)
    defense = DEFENSES.create(manifest.defense.name, **manifest.defense.arguments)
    if model_digest(manifest.model) != manifest.model_digest:
        raise UnsealError(f"{manifest.model} is not the model that {folder} was tuned from any more; restore it")
    model = load(manifest.model, adapter=folder) if manifest.training.method == "lora" else load(folder)
    secret = open_secret(folder, manifest, model.template, key)
    if defense.needs_secret and secret is None:
        raise UnsealError(
            f"{folder} was defended by {manifest.defense.name}, and its manifest names no secret; restore it"
        )
    return Served(model, defense, manifest, secret)
