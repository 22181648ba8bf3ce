"""No file that is written may be one that is read, or another one that is written: told before any work."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from watchword.data.tables import table_files
from watchword.errors import OutputError, UsageError
from watchword.files.addresses import Address
from watchword.files.atomic import check_writable
from watchword.guarding.screening import report_files

# (what the file is for, its address)
Role = tuple[str, Address]
# Without these, the folder of a saved data set cannot be read.
_OF_DATASETS = ("state.json", "dataset_info.json", "dataset_dict.json")


def refuse_clashes(written: Iterable[Role], read: Iterable[Role]) -> None:
    """Raises UsageError with both roles and the path where a file to write is one of the others.

    Links are followed.
    """
    sources, done = list(read), list[Role]()
    for role, address in written:
        for other, taken in (*sources, *done):
            if _same(address, taken):
                raise UsageError(
                    f"{address} would be written as {role}, and it is {other} too, which would be lost; give another name"
                )
        done.append((role, address))


def source_roles(source: Address) -> list[Role]:
    """The tenant's own files: one, or all that a folder's rows are read from."""
    role, folder = "the tenant's own file (`source`)", source.local
    if folder is None or not folder.is_dir():
        return [(role, source)]
    files = [*table_files(folder), *(path for path in folder.rglob("*.json") if path.name in _OF_DATASETS)]
    return [(role, Address(path)) for path in files]


def check_places(written: Iterable[Role]) -> None:
    """Raises OutputError unless every local file could be made: before long work, not after it."""
    for role, address in written:
        if address.local is None:
            continue
        if address.local.is_dir():
            raise OutputError(
                f"this is a folder, and {role} is to be a file; name the file to write", path=address.local
            )
        check_writable(address.local)


def report_roles(report: Path | None) -> list[Role]:
    """The files of a screening report."""
    return [("a file of `report`", Address(path)) for path in report_files(report)] if report is not None else []


def check_report_folder(report: Path | None) -> None:
    """Raises OutputError unless the folder of a screening report can be written into, or made."""
    if report is None:
        return
    if report.is_dir():
        check_places(report_roles(report))
        return
    parent = report
    while not os.path.lexists(parent):
        parent = parent.parent
    if not parent.is_dir():
        raise OutputError(
            f"the folder of `report` cannot be made: {parent} is no folder; name another one",
            path=report,
            param="report",
        )
    check_writable(parent / report.name)


def _same(written: Address, other: Address) -> bool:
    path, taken = written.local, other.local
    if path is None or taken is None:
        return written == other and not written.is_stream
    return path.resolve() == taken.resolve() or (path.exists() and taken.exists() and path.samefile(taken))
