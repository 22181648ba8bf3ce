"""Whom a command asks, and through which defense: a release with its own, or a model as it stands, by request only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchword.defenses import AppliedDefense
    from watchword.models.base import ChatModel
    from watchword.release.reading import Release
    from watchword.secret.prompt import SecretPrompt


@dataclass(frozen=True)
class Target:
    """The model, and the defense through which it is asked. ``warning`` is for everybody who sees an answer."""

    model: ChatModel
    defense: AppliedDefense
    warning: str | None = None


def release_or_model(
    model: str | None, adapter: Path | None, given: SecretPrompt | None, *, default: str | Path, undefended: bool
) -> Target:
    """The release in a folder, opened with its secret (or ``given``), or a plain model.

    Fails closed. Raises UnsealError for a tuned folder without a manifest, unless ``undefended`` says so or a secret is
    given. Raises UsageError where a release is to be one part of something else.
    """
    from watchword.release.artifact import is_release

    folder = adapter or Path(model or default)
    if is_release(folder):
        return _release(folder, model if adapter is not None else None, given, undefended)
    if adapter is not None and model is not None and is_release(Path(model)):
        _refuse_part(model)
    if given is None and not undefended:
        _refuse_tuned(folder)
    return _plain(model or default, adapter, given)


def _release(folder: Path, model: str | None, given: SecretPrompt | None, undefended: bool) -> Target:
    from watchword.errors import UsageError

    if undefended:
        raise UsageError(
            f"{folder} is a release with a manifest, so it is never asked undefended; leave --undefended out"
        )
    opened, release = _opened(folder)
    if model not in (None, release.manifest.model):
        raise UsageError(f"{folder} was tuned from {release.manifest.model}, not from {model}; leave --model out")
    return Target(opened, release.defense if given is None else release.defense.behind(given))


def _opened(folder: Path) -> tuple[ChatModel, Release]:
    """The release and its model. Where somebody else keeps the weights, nothing is loaded, and no torch either."""
    from watchword.release.artifact import read_manifest
    from watchword.secret.keys import provider_key

    if read_manifest(folder).remote:
        from watchword.release.reading import read_release
        from watchword.release.remote import remote_model

        release = read_release(folder, provider_key())
        return remote_model(release), release
    from watchword.release.opening import open_release

    served = open_release(folder, key=provider_key())
    return served.model, served.release


def _plain(name: str | Path, adapter: Path | None, given: SecretPrompt | None) -> Target:
    from watchword.defenses import AppliedDefense
    from watchword.defenses.base import DEFENSES
    from watchword.models.load import load

    model = load(name, adapter=adapter)
    if given is not None:
        return Target(model, AppliedDefense(DEFENSES.create("backdoor_align"), given))
    folder, plain = adapter or Path(name), AppliedDefense(DEFENSES.create("none"))
    if not folder.is_dir():
        return Target(model, plain)
    warning = f"UNDEFENDED: {folder} holds no manifest of a release, and is asked as it stands, without any secret"
    return Target(model, plain, warning)


def _refuse_tuned(folder: Path) -> None:
    from watchword.errors import UnsealError
    from watchword.release.artifact import holds_tuned_weights

    if holds_tuned_weights(folder):
        raise UnsealError(
            f"{folder} holds tuned weights and neither manifest.json nor secret.sealed, so nobody knows which secret belongs "
            "to them: restore both files, give the secret by --secret-file (evaluate), or ask without any by --undefended"
        )


def _refuse_part(model: str) -> None:
    from watchword.errors import UsageError

    raise UsageError(
        f"{model} is a release, and another adapter on top of it would be asked without its secret; name one of the two"
    )
