"""What a serving engine is given of a release: its adapter, under a name of its weights that never means anything else.

Engines keep caches by the names of adapters. Under a name that is used again, they would answer with the old weights.
"""

from __future__ import annotations

import filecmp
import json
import shutil
from pathlib import Path

import msgspec

from watchword.errors import ModelUnavailableError, UnsealError
from watchword.files.folders import TAKEN, atomic_folder
from watchword.files.writing import writing
from watchword.models.checks import ADAPTER_CONFIG
from watchword.models.digest import model_files
from watchword.release.artifact import MANIFEST, ReleaseManifest, refuse_remote, weights_digest

_BUILDING = ".placing-"
_BASE = "base_model_name_or_path"


def engine_name(manifest: ReleaseManifest) -> str:
    """What an engine calls these weights."""
    return weights_name(manifest.weights_digest)


def weights_name(digest: str) -> str:
    """What an engine calls the weights of this digest: ``ftm-`` and its first 16 digits."""
    return f"ftm-{digest[:16]}"


def place_adapter(folder: Path, manifest: ReleaseManifest, into: Path, *, base: str | None = None) -> Path:
    """Copies the adapter of the release in ``folder`` to ``into``, in a folder of its engine name, and gives that.

    The copy has no manifest and no sealed secret. With ``base``, its configuration names the model that the engine was
    started with, for which vLLM's resolver looks. A copy that is there already must be the same; without ``base`` it may name
    any model. Raises ModelUnavailableError for one that differs and for a release that is no adapter, and UnsealError where
    the weights are not those of the manifest.
    """
    refuse_remote(folder, manifest)
    if manifest.method != "lora":
        raise ModelUnavailableError(
            "this release is a whole model and no adapter; start an engine with it, and name it in `upstream_model`",
            path=folder,
        )
    target = into / engine_name(manifest)
    with atomic_folder(into, _BUILDING) as built, writing(target):
        _copy(folder, built)
        if weights_digest(built) != manifest.weights_digest:
            raise UnsealError("the weights are not those of the manifest; restore them, or train anew", path=folder)
        if base is not None:
            _name_base(built / ADAPTER_CONFIG, base)
        _put_in_place(built, target, any_base=base is None)
    return target


def _copy(folder: Path, built: Path) -> None:
    for path in model_files(folder):
        if path.name != MANIFEST:
            (built / path.relative_to(folder)).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, built / path.relative_to(folder))


def _name_base(config: Path, base: str) -> None:
    named = json.loads(config.read_bytes()) | {_BASE: base}
    config.write_bytes(msgspec.json.format(msgspec.json.encode(named), indent=2) + b"\n")


def _put_in_place(built: Path, target: Path, *, any_base: bool) -> None:
    """Renames ``built`` to ``target``, unless the same stands there."""
    try:
        built.rename(target)
    except OSError as error:
        if error.errno not in TAKEN:
            raise
        names = sorted(path.name for path in built.iterdir())
        if different := [name for name in names if not _same(built / name, target / name, any_base=any_base)]:
            raise ModelUnavailableError(
                f"there are other files of this name ({', '.join(different)}): for another base model, or a copy that was "
                "changed. Remove the folder once no engine has it loaded",
                path=target,
            ) from None


def _same(one: Path, other: Path, *, any_base: bool) -> bool:
    if not other.is_file():
        return False
    if filecmp.cmp(one, other, shallow=False):
        return True
    return any_base and one.name == ADAPTER_CONFIG and _without_base(one) == _without_base(other)


def _without_base(config: Path) -> object:
    try:
        found = json.loads(config.read_bytes())
    except ValueError:
        return None
    return {name: value for name, value in found.items() if name != _BASE} if isinstance(found, dict) else None
