"""Checks of what an attack is given, so that a wrong value is named before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable

from watchword.errors import DataError, UsageError
from watchword.files.addresses import file_digest
from watchword.registry import did_you_mean


def check_share(attack: str, name: str, share: float, *, least: float = 0.0) -> None:
    """Raises UsageError for a share outside ``least`` to 1."""
    if not least <= share <= 1:
        raise UsageError(f"{attack}: {name} is {share}; it must be between {least:g} and 1", param=name)


def check_least(attack: str, name: str, value: int, least: int = 0) -> None:
    """Raises UsageError for a number below ``least``."""
    if value < least:
        raise UsageError(f"{attack}: {name} is {value}; it must be at least {least}", param=name)


def check_choice(attack: str, name: str, value: str, choices: Iterable[str]) -> None:
    """Raises UsageError, with the choices and the nearest one, for a value that is none of them."""
    known = list(choices)
    if value not in known:
        raise UsageError(
            f"{attack}: {name} is {value!r}: {did_you_mean(value, known)}choose one of {', '.join(known)}", param=name
        )


def digest_of(path: str, known: str) -> str:
    """SHA-256 in hex of the file, for a field of the attack: so a cell's key changes with the file's content.

    Raises DataError where it cannot be read, or where it is no longer the file of the ``known`` digest.
    """
    found = file_digest(path)
    if known not in {"", found}:
        raise DataError(
            f"the file has changed: its SHA-256 is {found[:12]}…, and {known[:12]}… was expected; "
            "leave `sha256` out to take it as it is",
            path=path,
        )
    return found
