"""The packaged tables: back doors of serving engines, and published faults. Both carry the date of their facts."""

from __future__ import annotations

import datetime
import functools
from importlib.resources import files
from typing import Literal

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version


class Door(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A path that nobody but the gateway should reach. ``how`` says by which harmless call it is looked for.

    ``tenant`` marks what a gateway serves itself, to those who have a key.
    """

    path: str
    how: Literal["get", "post", "never"]
    why: str
    fix: str
    tenant: bool = False


class Doors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All doors, with what to do about them."""

    date: datetime.date
    remedies: dict[str, str]
    doors: tuple[Door, ...]


class Advisory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One published fault. ``affected`` is a range of versions (PEP 440), empty where the version does not tell."""

    product: str
    id: str
    what: str
    source: str
    affected: str = ""
    fixed_in: str | None = None

    def affects(self, version: str | None) -> bool | None:
        """Whether this version has the fault; None where nobody can tell."""
        if version is None or not self.affected:
            return None
        try:
            found = Version(version)
        except InvalidVersion:
            return None
        # A build before a release has that release's fixes for all that anybody knows.
        return SpecifierSet(self.affected).contains(found.base_version, prereleases=True)

    @property
    def fix(self) -> str:
        """What to do about it."""
        return f"upgrade to {self.fixed_in} or later" if self.fixed_in else "no release is known to mend it"


class Advisories(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All published faults that are known here."""

    date: datetime.date
    advisories: tuple[Advisory, ...]


@functools.cache
def doors() -> Doors:
    """The packaged table of back doors."""
    return msgspec.toml.decode(_packaged("doors.toml"), type=Doors)


@functools.cache
def advisories() -> Advisories:
    """The packaged table of published faults."""
    return msgspec.toml.decode(_packaged("advisories.toml"), type=Advisories)


def _packaged(name: str) -> bytes:
    return (files(__package__) / name).read_bytes()
