"""The screening report as files."""

from __future__ import annotations

from pathlib import Path


def screen_to_files(source: str, folder: Path, *, format: str = "auto") -> None:
    """Writes screening.json and screening.html."""
    raise NotImplementedError((source, folder, format))
