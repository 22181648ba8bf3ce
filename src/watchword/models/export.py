"""A model as a folder that any engine loads: its adapters merged into the weights, its tokenizer's files as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

from watchword.errors import OutputError
from watchword.files.folders import TAKEN, atomic_folder
from watchword.files.writing import writing
from watchword.models.catalog import resolve
from watchword.models.digest import model_files
from watchword.models.fetch import MARKER, at_hand
from watchword.models.load import load, quiet

_BUILDING = ".exporting-"
# What the weights' own library writes anew.
_OF_THE_WEIGHTS = ("config.json", "generation_config.json", MARKER)


def export_model(name: str | Path, out: Path, *, adapter: Path | None = None) -> None:
    """Writes the very weights that ``load`` gives, in the type in which the model is stored, into a new folder ``out``.

    Tokenizer and chat template are copied byte by byte, so that the prefix that was trained stays as it is. Raises
    OutputError where ``out`` is there already, and what ``load`` raises.
    """
    if out.exists():
        raise OutputError("this is there already; name a new folder", path=out)
    with atomic_folder(out.parent, _BUILDING) as built:
        model = load(name, adapter=adapter, device="cpu", dtype="auto").model
        with writing(out):
            with quiet():
                model.save_pretrained(built)
            _share(built)
            _copy_tokenizer(at_hand(resolve(name))[0], built)
            _put_in_place(built, out)


def _copy_tokenizer(source: Path, built: Path) -> None:
    for path in model_files(source):
        if path.suffix in (".safetensors", ".bin") or path.name.endswith(".index.json") or path.name in _OF_THE_WEIGHTS:
            continue
        target = built / path.relative_to(source)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)


def _share(built: Path) -> None:
    """Gives every file the rights of the configuration: safetensors writes for the owner only, and engines run as others."""
    rights = (built / "config.json").stat().st_mode
    for path in built.iterdir():
        path.chmod(rights)


def _put_in_place(built: Path, out: Path) -> None:
    try:
        built.rename(out)
    except OSError as error:
        if error.errno not in TAKEN:
            raise
        raise OutputError("this is there already; name a new folder", path=out) from None
