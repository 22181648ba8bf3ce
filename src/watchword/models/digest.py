"""Which weights a model name means right now, as one digest; torch-free, so that finished work is found without loading.

Always taken from the bytes. A record of digests beside the files, such as a cache has, could be written by anybody.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from watchword.errors import ModelUnavailableError
from watchword.files.digest import sha256_bytes, sha256_file
from watchword.models.catalog import resolve
from watchword.models.fetch import at_hand

KINDS = (".safetensors", ".json", ".jinja", ".model", ".bin", ".tiktoken", ".spm")
_VOCABULARIES = frozenset({"merges.txt", "vocab.txt"})
_MORE_TEMPLATES = "additional_chat_templates"


def model_digest(name: str | Path, adapter: Path | None = None) -> str:
    """SHA-256 in hex over the names and contents of the files that ``name`` is loaded from.

    Fetches a model that is not on this machine yet.
    """
    source = resolve(name)
    base, below = at_hand(source)
    adapters = (*below, adapter) if adapter is not None else below
    files = [path for folder in (base, *adapters) for path in model_files(folder)]
    return digest_of(files, source.hub_id or "")


def model_files(folder: Path) -> tuple[Path, ...]:
    """Files that decide what a model folder means, by name. What a link leads to counts as the file."""
    inside = (path for path in folder.iterdir() if path.suffix in KINDS or path.name in _VOCABULARIES)
    return tuple(sorted(path for path in (*inside, *(folder / _MORE_TEMPLATES).glob("*.jinja")) if path.is_file()))


def digest_of(files: Sequence[Path], label: str = "") -> str:
    """SHA-256 over names and contents. Raises ModelUnavailableError for a file that cannot be read."""
    entries: list[object] = [label]
    for path in files:
        try:
            entries.append((path.name, sha256_file(path)))
        except OSError as error:
            raise ModelUnavailableError(
                f"the file cannot be read: {error.strerror}; check its rights", path=path
            ) from None
    return sha256_bytes(json.dumps(entries).encode())
