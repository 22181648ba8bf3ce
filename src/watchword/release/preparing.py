"""A release made ready for a serving engine: the model that it tunes, its adapters merged in, and the tenant's adapter.

DIR/models/NAME-…     the model that was tuned, for the engine to start with; written once for all releases on it
DIR/models/ftm-…      a whole tuned model, where the engine takes no adapters
DIR/adapters/ftm-…    the release's adapter, under its engine name

This is the part of the folder that brings torch along, where a model has to be written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from watchword.errors import UnsealError
from watchword.models.digest import model_digest
from watchword.models.facts import facts_of
from watchword.progress import Step, no_steps
from watchword.release.artifact import ReleaseManifest, check_template, refuse_remote, signed_manifest
from watchword.release.engine import engine_name, place_adapter
from watchword.release.reading import at_hand_for

MODELS, ADAPTERS = "models", "adapters"


@dataclass(frozen=True)
class Prepared:
    """What an engine loads. ``adapter`` is None for a whole model. ``context`` is the most tokens that it reads."""

    name: str
    model: Path
    adapter: Path | None
    context: int | None


def prepare(folder: Path, out: Path, *, key: bytes, merged: bool = False, step: Step = no_steps) -> Prepared:
    """Writes what an engine is given of the release in ``folder`` below ``out``, absolute; what is there already stays.

    ``merged`` writes a whole model with the tenant's adapter in it. The manifest is checked first, and so is the model
    that it names; what was written has the chat template that was trained with. Raises what ``open_release`` raises.
    """
    out, manifest = out.absolute(), signed_manifest(folder, key)
    refuse_remote(folder, manifest)
    with at_hand_for(folder):
        if model_digest(manifest.model) != manifest.model_digest:
            raise UnsealError(
                f"{manifest.model} is not the model that this was tuned from any more; restore it", path=folder
            )
        alone = merged or manifest.method != "lora"
        model = _whole(folder, manifest, out, step) if alone else _tuned(manifest, out, step)
    facts = facts_of(model)
    check_template(manifest, facts.template)
    adapter = None if alone else place_adapter(folder, manifest, out / ADAPTERS, base=str(model))
    return Prepared(engine_name(manifest), model, adapter, facts.context)


def prepare_base(model: str, out: Path, *, step: Step = no_steps) -> Prepared:
    """Writes the model of this name alone, before there is a release on it: an engine starts with it.

    Raises what ``load`` raises.
    """
    folder = _base(model, model_digest(model), out.absolute(), step)
    return Prepared(folder.name, folder, None, facts_of(folder).context)


def _tuned(manifest: ReleaseManifest, out: Path, step: Step) -> Path:
    return _base(manifest.model, manifest.model_digest, out, step)


def _base(model: str, digest: str, out: Path, step: Step) -> Path:
    """The model that is tuned, its own adapters merged in."""
    target = out / MODELS / f"{Path(model).name}-{digest[:16]}"
    _export(model, target, None, step)
    return target


def _whole(folder: Path, manifest: ReleaseManifest, out: Path, step: Step) -> Path:
    """The tuned model in one."""
    target = out / MODELS / engine_name(manifest)
    if manifest.method == "lora":
        _export(manifest.model, target, folder, step)
    else:
        _export(folder, target, None, step)
    return target


def _export(name: str | Path, target: Path, adapter: Path | None, step: Step) -> None:
    if target.is_dir():
        return
    from watchword.models.export import export_model

    step("writing the model", 0, 1)
    export_model(name, target, adapter=adapter)
    step("writing the model", 1, 1)
