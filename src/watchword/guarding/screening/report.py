"""The screening report as files: JSON for machines, one self-contained HTML page for people."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from watchword.data.reading import AS_IT_IS, Reading
from watchword.files.addresses import Address
from watchword.files.atomic import replacing
from watchword.files.writing import writing
from watchword.guarding.screening import report_files
from watchword.guarding.screening.page import page
from watchword.guarding.screening.screen import Screening, screen
from watchword.secret.prompt import SecretPrompt


def screen_to_files(
    source: Address,
    folder: Path,
    *,
    format: str = "auto",
    reading: Reading = AS_IT_IS,
    known: Iterable[SecretPrompt] = (),
) -> Screening:
    """Screens a source and writes screening.json and screening.html, private since they tell of a tenant's data.

    Of a row that carries one of the ``known`` secrets, only the line is told.
    """
    found = screen(source, format=format, reading=reading, known=known)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    html, plain = report_files(folder)
    with replacing(plain, mode=0o600) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(found.plain()), indent=2) + b"\n")
    with replacing(html, mode=0o600) as stream:
        stream.write(page(found).encode())
    return found


def summary(found: Screening, folder: Path) -> list[str]:
    """The report as lines of text: where it lies, and what to look at."""
    written = f"screening: {', '.join(map(str, report_files(folder)))}"
    return [written, *(f"screening: {finding.line()}" for finding in found.findings)]
