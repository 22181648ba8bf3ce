"""What crashes have left among the releases: in an object store half of a release, or a whole one that no record names."""

from __future__ import annotations

import os
import re
from pathlib import Path

from watchword.files.addresses import Address
from watchword.files.remote import RemoteFolder
from watchword.service.db import Database
from watchword.service.storage import changed_at
from watchword.service.stores import folder_at
from watchword.service.worker.publishing import retract

# A model's folder, and in it that of one release: version, job and fence, as ``worker.ending`` puts them.
_FOLDER = re.compile(r"[^/.][^/]*/v\d+-[^/]+-\d+")
_RELEASE = re.compile(r"([^/]+/v\d+-[^/]+-\d+)/[^/]+")


def sweep_strays(releases: Address, database: Database, older_than: float) -> int:
    """Removes releases of no model that were last written before ``older_than``. How many."""
    written = _in_store(releases) if releases.local is None else _in_folder(releases.local)
    # Asked after the look at the place: a release is written before its record. By their ends: a URL has several spellings.
    kept = {"/".join(location.replace(os.sep, "/").split("/")[-2:]) for location in database.locations()}
    strays = [name for name, at in written.items() if at < older_than and name not in kept]
    for name in strays:
        retract(releases.below(name))
    return len(strays)


def _in_store(releases: Address) -> dict[str, float]:
    """Each release, whole or not, and when it was last written."""
    written: dict[str, float] = {}
    for name, facts in RemoteFolder(releases.whole).below().items():
        if found := _RELEASE.fullmatch(name):
            written[found[1]] = max(written.get(found[1], 0.0), changed_at(facts))
    return written


def _in_folder(releases: Path) -> dict[str, float]:
    """The same; what is not complete has a hidden name here, and goes with the next that is published."""
    with folder_at(releases, "the releases"):
        found = {path.relative_to(releases).as_posix(): path for path in releases.glob("*/v*") if not path.is_symlink()}
        return {name: path.stat().st_mtime for name, path in found.items() if _FOLDER.fullmatch(name)}
