"""Whom lm-eval asks: a release through its own defense, or a plain model, which is said to be undefended."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from watchword.benchmarks.base import ANSWERS, Subject
from watchword.defenses import AppliedDefense
from watchword.defenses.base import DEFENSES
from watchword.errors import UnsealError, UsageError
from watchword.provenance import versions
from watchword.registry import did_you_mean

log = logging.getLogger("watchword.lab")
# Its command says this device where the user says none.
_UNSAID = (None, "cuda:0")


class ModelArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``model_args`` of lm-eval, and what it adds by itself.

    ``release`` is a folder that ``watchword train`` left, ``model`` a plain model: one of the two. ``without_secret`` asks
    a release with nothing in front. ``undefended`` takes tuned weights that have no manifest as they stand. ``batch_size``
    is a number of answers, or ``auto``. lm-eval gives ``device`` and ``max_batch_size`` as well, which are not chosen here.
    """

    release: str | None = None
    model: str | None = None
    without_secret: bool = False
    undefended: bool = False
    batch_size: int | str | None = None
    max_batch_size: int | None = None
    device: str | None = None


@dataclass(frozen=True)
class Asked:
    """Whom, and how answers are made. ``released``: whether it is a release. ``facts`` stand in lm-eval's results."""

    subject: Subject
    released: bool
    facts: Mapping[str, Any]


def asked_by(given: Mapping[str, Any]) -> Asked:
    """What the arguments name, loaded.

    Fails closed. Raises UsageError for wrong arguments, and what ``open_release`` and ``load`` raise.
    """
    arguments = _checked(given)
    options = replace(ANSWERS, batch_size=_batch_size(arguments.batch_size))
    found = _plain(arguments) if arguments.release is None else _released(arguments, Path(arguments.release))
    return replace(found, subject=replace(found.subject, options=options))


def _checked(given: Mapping[str, Any]) -> ModelArguments:
    known = ModelArguments.__struct_fields__
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known)
            raise UsageError(
                f"the model watchword has no argument {name!r}: {hint}it takes {', '.join(known)}", param=name
            )
    try:
        arguments = msgspec.convert(dict(given), ModelArguments)
    except msgspec.ValidationError as error:
        raise UsageError(f"the model watchword: {str(error).replace('Expected', 'expected', 1)}") from None
    if (arguments.release is None) == (arguments.model is None):
        raise UsageError("name one of the two: release=runs/tenant, or model=smollm2-135m for a plain model")
    if arguments.device not in _UNSAID or arguments.max_batch_size is not None:
        raise UsageError(
            "device and max_batch_size are not taken: the model is loaded onto CUDA, MPS or the processor, whichever there is; "
            "leave them out"
        )
    return arguments


def _batch_size(given: int | str | None) -> int:
    text = "auto" if given is None else str(given)
    if text.startswith("auto"):
        return ANSWERS.batch_size
    if not text.isdecimal():
        raise UsageError(f"batch_size is {given!r}; give a number of answers, or auto", param="batch_size")
    return int(text)


def _released(arguments: ModelArguments, folder: Path) -> Asked:
    from watchword.release.opening import open_release
    from watchword.secret.keys import provider_key

    if arguments.undefended:
        raise UsageError(f"{folder} is to be asked as a release, never undefended; leave undefended out")
    served = open_release(folder, key=provider_key())
    manifest, defense = served.release.manifest, served.release.defense
    if arguments.without_secret:
        defense = defense.without_secret()
    facts = {
        "release": str(folder),
        "model": manifest.model,
        "weights": manifest.weights_digest,
        "defense": manifest.defense.name,
        "secret_in_front": defense.secret is not None,
        "undefended": False,
        "versions": versions(),
    }
    return Asked(Subject(served.model, defense), released=True, facts=facts)


def _plain(arguments: ModelArguments) -> Asked:
    from watchword.models.load import load
    from watchword.release.artifact import holds_tuned_weights, is_release

    name = str(arguments.model)
    if arguments.without_secret:
        raise UsageError(f"{name} is a plain model and has no secret; leave without_secret out")
    if is_release(Path(name)):
        raise UsageError(f"{name} is a release, which is never asked without its defense; name it by release={name}")
    if holds_tuned_weights(Path(name)) and not arguments.undefended:
        raise UnsealError(
            f"{name} holds tuned weights and no manifest, so nobody knows which secret belongs to them: restore "
            "manifest.json and secret.sealed, or take them as they stand with undefended=true"
        )
    model = load(name)
    log.warning("UNDEFENDED: %s is a plain model, and is asked as it stands, without any secret", name)
    facts = {
        "release": None,
        "model": name,
        "defense": "none",
        "secret_in_front": False,
        "undefended": True,
        "versions": versions(),
    }
    return Asked(Subject(model, AppliedDefense(DEFENSES.create("none"))), released=False, facts=facts)
