"""Screening of a tenant's data for the provider's eyes: it informs, it changes nothing."""

from __future__ import annotations

from pathlib import Path


def report_files(folder: Path) -> tuple[Path, Path]:
    """The page and the JSON that ``report.screen_to_files`` writes there."""
    return folder / "screening.html", folder / "screening.json"
