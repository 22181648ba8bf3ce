"""What benchmarks that read the user's own file have in common."""

from __future__ import annotations

from pathlib import Path

from watchword.errors import DataError
from watchword.files.digest import sha256_file


def file_digest(path: str) -> str:
    """SHA-256 in hex of the file. Raises DataError where it cannot be read."""
    try:
        return sha256_file(Path(path))
    except OSError as error:
        raise DataError(
            f"the file cannot be read: {error.strerror}; check the path and its rights", path=path
        ) from None
