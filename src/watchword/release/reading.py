"""A finished release without its weights: all that guards a request and cleans an answer, read without torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from watchword.chat.template import ChatTemplate, SystemStyle
from watchword.defenses import AppliedDefense
from watchword.defenses.base import DEFENSES
from watchword.errors import ModelUnavailableError, UnknownNameError, UnsealError
from watchword.models.facts import facts_of
from watchword.release.artifact import ReleaseManifest, open_secret, signed_manifest
from watchword.secret.generate import secret_ids
from watchword.secret.prompt import SecretPrompt


@dataclass(frozen=True)
class Release:
    """A release whose manifest is signed, whose weights are those of the manifest, and whose secret is unsealed.

    ``defense`` guards requests and cleans answers. ``template`` is the one that was trained with, and ``prefix_ids`` are the
    token ids that the secret has in it, as they were trained; none for a release without a secret.
    """

    manifest: ReleaseManifest
    defense: AppliedDefense
    template: ChatTemplate
    prefix_ids: tuple[int, ...] = field(default=(), repr=False)

    @property
    def secret(self) -> SecretPrompt | None:
        """The secret of a release that has one."""
        return self.defense.secret

    @property
    def system_style(self) -> SystemStyle:
        """All that putting the secret in front of a request needs to know of the template."""
        return self.template.system_style


def read_release(folder: Path, key: bytes) -> Release:
    """The release in a finished folder, read without torch. Fails closed: see ``release.artifact``.

    Of the model that was tuned, only the template and the tokenizer are read, and fetched where they are not at hand. The
    manifest is checked before anything that it names is looked up. Raises UnsealError and ModelUnavailableError.
    """
    manifest = signed_manifest(folder, key)
    with at_hand_for(folder):
        template = facts_of(_weights_of(folder, manifest)).template
    return checked_release(folder, manifest, template, key)


@contextlib.contextmanager
def at_hand_for(folder: Path) -> Iterator[None]:
    """Inside, names come from the release's manifest: one that is unknown here is no wrong argument of the caller's."""
    try:
        yield
    except UnknownNameError as error:
        raise ModelUnavailableError(f"{folder} cannot be served on this machine: {error}") from error


def checked_release(folder: Path, manifest: ReleaseManifest, template: ChatTemplate, key: bytes) -> Release:
    """The release, once its secret has opened and its prefix is the one that was trained in this very template.

    Raises UnsealError where anything does not agree, and ModelUnavailableError for a defense that is not installed here.
    """
    with at_hand_for(folder):
        defense = DEFENSES.create(manifest.defense.name, **manifest.defense.arguments)
    secret = open_secret(folder, manifest, template, key)
    if defense.needs_secret and secret is None:
        raise UnsealError(
            f"{folder} was defended by {manifest.defense.name}, and its manifest names no secret; restore it"
        )
    ids = () if secret is None else tuple(secret_ids(secret, template))
    return Release(manifest, AppliedDefense(defense, secret), template, ids)


def _weights_of(folder: Path, manifest: ReleaseManifest) -> str | Path:
    """What the release's own template belongs to: the model that an adapter was trained on, or a whole model in ``folder``."""
    return manifest.model if manifest.training.method == "lora" else folder
