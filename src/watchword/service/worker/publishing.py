"""Puts a release where the gateway serves it from: whole, or not there at all.

An object store renames nothing. There the manifest is written last and removed first, and what has none is no release.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from watchword.errors import OutputError
from watchword.files.addresses import Address
from watchword.files.folders import PRIVATE_FOLDER, atomic_folder, replace_folder
from watchword.files.writing import sync_folder
from watchword.release.artifact import MANIFEST
from watchword.service.crash import crash_point
from watchword.service.stores import folder_at, store_at

_BUILT = ".publishing-"
# What errors call it.
_WHAT = "the release"


def publish(release: Path, place: Address) -> None:
    """Copies a release to a folder or URL that nobody knows yet; its manifest appears last.

    Raises OutputError for what is no release, and StoreError where the place cannot be used.

    The release stays where it is, so that a job that ends right behind this can publish again.
    """
    files = _files(release)
    if place.local is not None:
        with folder_at(place.local, _WHAT):
            _to_folder(files, place.local)
    else:
        _to_url(files, place)


def retract(place: Address) -> None:
    """Removes what was published and is not to be served; one that is gone is no error."""
    if place.local is not None:
        shutil.rmtree(place.local, ignore_errors=True)
        with contextlib.suppress(OSError):
            place.local.parent.rmdir()
        return
    with store_at(place, _WHAT) as (system, path), contextlib.suppress(FileNotFoundError):
        _remove(system, path)


def retract_others(place: Address) -> None:
    """Removes what lost workers have published of the same version beside ``place``: no record names it."""
    start = f"{place.name.rpartition('-')[0]}-"
    if place.local is not None:
        for other in place.local.parent.glob(f"{start}*"):
            if other != place.local:
                shutil.rmtree(other, ignore_errors=True)
        return
    with store_at(place, _WHAT) as (system, path), contextlib.suppress(FileNotFoundError):
        folder = path.rpartition("/")[0]
        names = {entry.rstrip("/").rpartition("/")[2] for entry in system.ls(folder, detail=False)}
        for name in names - {place.name}:
            if name.startswith(start):
                _remove(system, f"{folder}/{name}")


def folder_name(model: str) -> str:
    """A model's name as that of one folder: no slash, no colon, no dot in front."""
    return quote(model, safe="").replace(".", "%2E")


def _to_folder(files: Sequence[Path], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
    with atomic_folder(target.parent, _BUILT, mode=PRIVATE_FOLDER) as built:
        for path in files:
            shutil.copyfile(path, built / path.name)
            _synced(built / path.name)
        sync_folder(built)
        replace_folder(built, target, f"{_BUILT}old-")
        sync_folder(target.parent)


def _to_url(files: Sequence[Path], target: Address) -> None:
    with store_at(target, _WHAT) as (system, path):
        for file in files:
            system.put_file(str(file), f"{path.rstrip('/')}/{file.name}")
            crash_point("while_publishing")


def _remove(system: Any, folder: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        system.rm_file(f"{folder}/{MANIFEST}")
    system.rm(folder, recursive=True)


def _files(release: Path) -> list[Path]:
    """The release's files, the manifest last: without it nothing is trusted."""
    found = [path for path in release.iterdir() if path.is_file() and not path.name.startswith(".")]
    if not any(path.name == MANIFEST for path in found):
        raise OutputError("this is no complete release", path=release)
    return sorted(found, key=lambda path: path.name == MANIFEST)


def _synced(path: Path) -> None:
    path.chmod(0o600)
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
