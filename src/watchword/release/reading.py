"""A finished release without its weights: all that guards a request and cleans an answer, read without torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from watchword.chat.template import ChatTemplate, SystemStyle
from watchword.defenses import AppliedDefense
from watchword.defenses.base import DEFENSES, Defense
from watchword.errors import ModelUnavailableError, UnknownNameError, UnsealError
from watchword.models.facts import facts_of
from watchword.release.artifact import ReleaseManifest, open_secret, sealed_secret, signed_manifest
from watchword.release.chat_format import kept_format
from watchword.secret.generate import secret_ids
from watchword.secret.prompt import SecretPrompt


class Guarded(Protocol):
    """How requests to a model are guarded and its answers cleaned: a release, or a model that was released by nobody here."""

    @property
    def defense(self) -> AppliedDefense:
        """Guards requests and cleans answers."""

    @property
    def system_style(self) -> SystemStyle:
        """All that putting a secret in front needs to know."""

    @property
    def template(self) -> ChatTemplate | None:
        """The model's template; None where it was read without a tokenizer."""

    @property
    def prefix_ids(self) -> tuple[int, ...] | None:
        """The token ids of the secret in the template."""

    @property
    def secret(self) -> SecretPrompt | None:
        """The secret of a model that has one."""


@dataclass(frozen=True)
class Plain:
    """A model as it is, with no secret: a base model, whose own alignment nobody has tuned away."""

    template: ChatTemplate
    defense: AppliedDefense = field(default_factory=lambda: AppliedDefense(DEFENSES.create("none")))
    prefix_ids: tuple[int, ...] = ()
    secret: None = None

    @property
    def system_style(self) -> SystemStyle:
        """The template's own."""
        return self.template.system_style


@dataclass(frozen=True)
class Release:
    """A release whose manifest is signed, whose weights are those of the manifest, and whose secret is unsealed.

    ``defense`` guards requests and cleans answers; ``system_style`` is all that putting the secret in front needs to
    know. ``template`` is the one that was trained with. ``prefix_ids`` are the token ids that the secret has in it, as
    they were trained (none without a secret). Both are None where the release was read without a tokenizer. ``folder`` is
    where it was read.
    """

    folder: Path
    manifest: ReleaseManifest
    defense: AppliedDefense
    system_style: SystemStyle
    template: ChatTemplate | None = None
    prefix_ids: tuple[int, ...] | None = field(default=None, repr=False)

    @property
    def secret(self) -> SecretPrompt | None:
        """The secret of a release that has one."""
        return self.defense.secret


def read_release(folder: Path, key: bytes, *, tokenizer: bool = True) -> Release:
    """The release in a finished folder, read without torch. Fails closed: see ``release.artifact``.

    The template and the tokenizer are those that the release keeps. Releases of earlier versions keep none: then they are
    the tuned model's, fetched where they are not at hand. The manifest is checked before anything that it names is
    looked up. Without ``tokenizer`` neither is read. Whoever serves must then compare the ids that the serving engine
    makes of the secret with the manifest (``release.artifact.check_prefix``). Raises UnsealError and
    ModelUnavailableError.
    """
    manifest = signed_manifest(folder, key)
    if not tokenizer:
        return _from_folder_alone(folder, manifest, key)
    template = kept_format(folder, Path(manifest.model).name)
    if template is None:
        with at_hand_for(folder):
            template = facts_of(_weights_of(folder, manifest)).template
    return checked_release(folder, manifest, template, key)


def checked_release(folder: Path, manifest: ReleaseManifest, template: ChatTemplate, key: bytes) -> Release:
    """The release, once its secret has opened and its prefix is the one that was trained in this very template.

    Raises UnsealError where anything does not agree, and ModelUnavailableError for a defense that is not installed here.
    """
    defense = _defense(folder, manifest)
    secret = open_secret(folder, manifest, template, key)
    ids = () if secret is None else tuple(secret_ids(secret, template))
    return Release(folder, manifest, _applied(folder, manifest, defense, secret), template.system_style, template, ids)


@contextlib.contextmanager
def at_hand_for(folder: Path) -> Iterator[None]:
    """Inside, names come from the release's manifest: one that is unknown here is no wrong argument of the caller's."""
    try:
        yield
    except UnknownNameError as error:
        raise ModelUnavailableError(f"this cannot be served on this machine: {error.problem}", path=folder) from error


def _from_folder_alone(folder: Path, manifest: ReleaseManifest, key: bytes) -> Release:
    if isinstance(manifest.system_style, msgspec.UnsetType):
        raise ModelUnavailableError(
            "this release is of an earlier version, whose manifest does not say how the template takes system text; read it "
            f"where the tokenizer of {manifest.model} is at hand, or train anew",
            path=folder,
        )
    defense = _defense(folder, manifest)
    secret = sealed_secret(folder, manifest, key)
    return Release(folder, manifest, _applied(folder, manifest, defense, secret), manifest.system_style)


def _defense(folder: Path, manifest: ReleaseManifest) -> Defense:
    with at_hand_for(folder):
        return DEFENSES.create(manifest.defense.name, **manifest.defense.arguments)


def _applied(folder: Path, manifest: ReleaseManifest, defense: Defense, secret: SecretPrompt | None) -> AppliedDefense:
    if defense.needs_secret and secret is None:
        raise UnsealError(
            f"this was defended by {manifest.defense.name}, and its manifest names no secret; restore it", path=folder
        )
    return AppliedDefense(defense, secret)


def _weights_of(folder: Path, manifest: ReleaseManifest) -> str | Path:
    """What the release's own template belongs to: the model that an adapter was trained on, or a whole model in ``folder``."""
    return manifest.model if manifest.method == "lora" else folder
