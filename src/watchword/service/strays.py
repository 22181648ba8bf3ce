"""What crashes have left among the releases of an object store: half of a release, or a whole one that no record names."""

from __future__ import annotations

import re

from watchword.files.addresses import Address
from watchword.files.remote import RemoteFolder
from watchword.service.db import Database
from watchword.service.storage import changed_at
from watchword.service.worker.publishing import retract

# A model's folder, and in it that of one release: version, job and fence, as ``worker.ending`` puts them.
_RELEASE = re.compile(r"([^/]+/v\d+-[^/]+-\d+)/[^/]+")


def sweep_strays(releases: Address, database: Database, older_than: float) -> int:
    """Removes releases of no model that were last written before ``older_than``. How many.

    Nothing in a folder: there whatever is not complete has a hidden name, and goes with the next that is published.
    """
    if releases.local is not None:
        return 0
    written: dict[str, float] = {}
    for name, facts in RemoteFolder(releases.whole).below().items():
        if found := _RELEASE.fullmatch(name):
            written[found[1]] = max(written.get(found[1], 0.0), changed_at(facts))
    # Asked after the look at the store: a release is written before its record. By their ends: a URL has several spellings.
    kept = {"/".join(location.split("/")[-2:]) for location in database.locations()}
    strays = [name for name, at in written.items() if at < older_than and name not in kept]
    for name in strays:
        retract(releases.below(name))
    return len(strays)
