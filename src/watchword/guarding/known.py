"""Which secrets this provider has, for addresses: those that no tenant's row may carry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from watchword.files.addresses import Address
from watchword.secret.kept import SUFFIX, kept_files, kept_secrets
from watchword.secret.prompt import SecretPrompt

__all__ = ["SUFFIX", "known_files", "known_secrets"]


def known_secrets(
    places: Iterable[Address], named: Iterable[Path], key: Callable[[], bytes]
) -> tuple[SecretPrompt, ...]:
    """Those kept beside these files where they are local, and those of ``named`` files and folders; see ``kept_secrets``."""
    return kept_secrets(_local(places), named, key)


def known_files(places: Iterable[Address], named: Iterable[Path]) -> list[Path]:
    """The files that ``known_secrets`` reads."""
    return kept_files(_local(places), named)


def _local(places: Iterable[Address]) -> list[Path]:
    return [place.local for place in places if place.local is not None]
