"""This machine's copies of releases that are kept in an object store: which weights they hold, and how they go."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from watchword.errors import ModelUnavailableError
from watchword.gateway.fetched import copies_of
from watchword.release.artifact import read_manifest


@dataclass(frozen=True)
class Copies:
    """The copies in ``folder``, where ``gateway.fetched`` puts them: a folder for each URL."""

    folder: Path

    def weights(self) -> dict[Path, str]:
        """The digest that each copy's manifest names; empty where it cannot be read. Nothing is served by it."""
        found = self.folder.glob("*/[!.]*") if self.folder.is_dir() else ()
        return {copy.parent: _digest(copy) for copy in found if copy.is_dir()}

    def forget(self, location: str) -> None:
        """Removes the copy of what is kept there, if there is one."""
        shutil.rmtree(copies_of(location, self.folder), ignore_errors=True)


def _digest(copy: Path) -> str:
    try:
        return read_manifest(copy).weights_digest
    except ModelUnavailableError:
        return ""
