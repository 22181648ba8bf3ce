"""Checking an uploaded file by the one validator, in a process of its own: a hostile file can take no more than that."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from anyio import CapacityLimiter

from watchword.data.reading import Reading
from watchword.data.validate import ValidationReport, validate
from watchword.errors import DataError
from watchword.files.addresses import Address

# Faults that a tenant is told of in one go.
_SHOWN = 20
_UNREADABLE = "The file cannot be checked: it takes more memory or time than a training file may."


@dataclass(frozen=True)
class CheckedFile:
    """What is wrong with a file, in words for its tenant; None where it can be trained on."""

    problem: str | None


def check_training_file(path: Path, reading: Reading) -> CheckedFile:
    """Looks at every row, and names the first faults with their lines. No name of ours stands in what is said."""
    try:
        report = validate(Address(path), format="openai", reading=reading)
    except DataError as error:
        return CheckedFile(_told(error.line, error.field, error.problem))
    return CheckedFile(None if report.ok else _faults(report))


class FileChecker:
    """Checks files one after another, in one child process that is started when it is first needed."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._pool: ProcessPoolExecutor | None = None
        # For threads that wait for a check: none of those that answer calls may.
        self.turns = CapacityLimiter(1)

    def check(self, path: Path) -> CheckedFile:
        """Waits for its turn and for the verdict. A file that ends the process is at fault itself."""
        try:
            return self._running().submit(check_training_file, path, self._reading).result()
        except BrokenProcessPool:
            self.close()
            return CheckedFile(_UNREADABLE)

    def close(self) -> None:
        """Ends the process, once the file that it is at has been checked."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _running(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_end_with_parent)
        return self._pool


def _end_with_parent() -> None:
    """Lets this process end with the one that started it, also where that was killed: it would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _faults(report: ValidationReport) -> str:
    shown = [_told(fault.line, fault.field, f"{fault.problem}; {fault.fix}") for fault in report.faults[:_SHOWN]]
    listed = sum(fault.rows for fault in report.faults[:_SHOWN])
    more = [f"and {report.fault_count - listed} more"] if report.fault_count > listed else []
    return "\n".join([*shown, *more])


def _told(line: int | None, field: str | None, problem: str) -> str:
    place = ", ".join([*([f"line {line}"] if line is not None else []), *([field] if field else [])])
    return f"{place}: {problem}" if place else problem
