"""Where models and releases come from: two small interfaces, and what a configuration makes of them.

Who has a database of its own gives the gateway its own sources (and tenants: ``gateway.tenants``). All methods are
awaited on the gateway's event loop: what may block belongs in a thread (``asyncio.to_thread``).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from watchword.files.addresses import Address
from watchword.files.folders import cache_root
from watchword.gateway.configuration import ModelSettings
from watchword.gateway.fetched import FetchedRelease
from watchword.release.reading import Guarded, Release, read_release


class ReleaseSource(Protocol):
    """One release, wherever it is kept, or a model that was never tuned (``release.reading.Plain``)."""

    async def stamp(self) -> object:
        """A value that is another one whenever the release is. Asked often, and cheap: it reads no release.

        Raises WatchwordError or OSError where nobody can tell now; what is open stays open then.
        """

    async def open(self, key: bytes) -> Guarded:
        """The release, with all its checks (``read_release``). Raises WatchwordError or OSError."""


@dataclass(frozen=True)
class OfferedModel:
    """A model as tenants may ask for it, and where its release is. ``settings.release`` is only shown to operators."""

    settings: ModelSettings
    release: ReleaseSource


class ModelSource(Protocol):
    """Which models there are."""

    async def names(self) -> Sequence[str]:
        """Models that are opened at the start, and that ``/health`` counts. Others open when they are first asked for."""

    async def model(self, name: str) -> OfferedModel | None:
        """The model of this name; None where there is none. Asked again every now and then for one that is open."""


class FolderRelease:
    """A release in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def stamp(self) -> object:
        """How the folder's files look from outside; empty where it cannot be read. Quick enough for the event loop."""
        try:
            with os.scandir(self._folder) as entries:
                looks: Mapping[str, os.stat_result] = {entry.name: entry.stat() for entry in entries}
        except OSError:
            return ()
        return tuple(sorted((name, look.st_size, look.st_mtime_ns, look.st_ino) for name, look in looks.items()))

    async def open(self, key: bytes) -> Release:
        """The release as the folder holds it now."""
        return await asyncio.to_thread(read_release, self._folder, key)


def release_at(address: str, cache: Path | None = None) -> FolderRelease | FetchedRelease:
    """The release in a folder, or at a URL that fsspec opens. ``cache`` is where such are fetched to; None is the user's own."""
    place = Address.parse(address)
    if place.url is None:
        return FolderRelease(place.local or Path(address))
    return FetchedRelease(place.url, cache_root() / "releases" if cache is None else cache)


class ConfiguredModels:
    """The models of a configuration."""

    def __init__(self, models: Sequence[ModelSettings]) -> None:
        self._models = {model.name: OfferedModel(model, release_at(model.release)) for model in models}

    async def names(self) -> Sequence[str]:
        """All of them."""
        return list(self._models)

    async def model(self, name: str) -> OfferedModel | None:
        """The model of this name."""
        return self._models.get(name)
