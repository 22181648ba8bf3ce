"""Releases in an object store or on a web server: fetched into a cache, and checked there like any other.

The manifest tells whether a release has changed, since it is written last and names the digests of all the rest. What
stands in the cache is believed no more than what stands in the store: signature and digests are checked whenever it is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from pathlib import Path

from watchword.errors import ModelUnavailableError, WatchwordError
from watchword.files.digest import sha256_bytes
from watchword.files.folders import PRIVATE_FOLDER, atomic_folder, replace_folder
from watchword.files.remote import RemoteFolder
from watchword.release.artifact import MANIFEST
from watchword.release.chat_format import CHAT_FORMAT
from watchword.release.reading import Release, read_release
from watchword.secret.kept import SEALED

# Seconds between two looks at a manifest.
LOOK_SECONDS = 10.0
# Seconds until a copy that does not open, and was fetched by this process, is fetched once more: its seal may have been renewed.
AGAIN_SECONDS = 60.0
_MOST_MANIFEST = 4 << 20
# What a release of adapters consists of. A place that lists no files is asked for these.
_USUAL = (MANIFEST, SEALED, CHAT_FORMAT, "adapter_config.json", "adapter_model.safetensors")
_BUILT = ".fetching-"


def copies_of(url: str, cache: Path) -> Path:
    """The folder of what is fetched from a URL: one copy of the release, in a folder named by its manifest."""
    return cache / sha256_bytes(url.encode())[:16]


class FetchedRelease:
    """A release at an fsspec URL. ``cache`` is a folder for such releases, whose fetched copies are for their owner only."""

    def __init__(self, url: str, cache: Path) -> None:
        self._remote, self._own = RemoteFolder(url), copies_of(url, cache)
        self._next_look = self._fetch_again = 0.0
        self._digest = self._fetched = ""

    def __str__(self) -> str:
        return str(self._remote)

    async def stamp(self) -> object:
        """The digest of the manifest, looked up again every now and then; empty where there is none."""
        if time.monotonic() >= self._next_look:
            self._digest = await asyncio.to_thread(self._manifest_digest)
            self._next_look = time.monotonic() + LOOK_SECONDS
        return self._digest

    async def open(self, key: bytes) -> Release:
        """The release as the store holds it now, fetched where it is not in the cache yet."""
        return await asyncio.to_thread(self._open, key)

    def _manifest_digest(self) -> str:
        manifest = self._remote.read(MANIFEST, _MOST_MANIFEST)
        return "" if manifest is None else sha256_bytes(manifest)

    def _open(self, key: bytes) -> Release:
        digest = self._digest = self._manifest_digest()
        if not digest:
            raise ModelUnavailableError(
                f"there is no {MANIFEST}; name the folder of a finished training", path=str(self)
            )
        folder = self._own / digest[:32]
        if self._fetched != digest or time.monotonic() >= self._fetch_again:
            with contextlib.suppress(WatchwordError, OSError):
                return read_release(folder, key)
            self._fetch(folder)
            self._fetched, self._fetch_again = digest, time.monotonic() + AGAIN_SECONDS
            self._forget_others(folder)
        return read_release(folder, key)

    def _fetch(self, folder: Path) -> None:
        with atomic_folder(folder.parent, _BUILT, mode=PRIVATE_FOLDER) as built:
            for name in self._remote.names() or _USUAL:
                self._remote.fetch(name, built / name)
            fetched = built / MANIFEST
            if not fetched.is_file() or sha256_bytes(fetched.read_bytes()) != self._digest:
                raise ModelUnavailableError("it was changed while it was fetched", path=str(self))
            replace_folder(built, folder, _BUILT)

    def _forget_others(self, folder: Path) -> None:
        for other in folder.parent.iterdir():
            if other != folder and not other.name.startswith(_BUILT):
                shutil.rmtree(other, ignore_errors=True)
