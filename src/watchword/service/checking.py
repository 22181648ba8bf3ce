"""Checking an uploaded file by the one validator, in a process of its own: a hostile file can take no more than that."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import anyio.to_thread
from anyio import CapacityLimiter

from watchword.data.reading import Reading
from watchword.data.validate import ValidationReport, validate
from watchword.errors import DataError
from watchword.files.addresses import Address
from watchword.service.turns import FairTurns
from watchword.service.types.files import StoredFile

# So many bytes take about as long as starting with a file.
_COSTS_ONE = 1 << 20
# Faults that a tenant is told of in one go.
_SHOWN = 20
_UNREADABLE = "The file cannot be checked: it takes more memory or time than a training file may."


def _alike(tenant: str) -> float:  # noqa: ARG001
    """Everybody's share is the same."""
    return 1.0


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
    """Checks files one after another, in one child process that is started when it is first needed.

    Tenants share it by ``weight_of`` and by the size of their files.
    """

    def __init__(self, reading: Reading, weight_of: Callable[[str], float] = _alike) -> None:
        self._reading = reading
        self._pool: ProcessPoolExecutor | None = None
        self._turns = FairTurns(weight_of)
        # For the thread that waits for a check: none of those that answer calls may.
        self._threads = CapacityLimiter(1)
        self._known: set[str] = set()

    async def in_turn(self, file: StoredFile, action: Callable[[], None]) -> None:
        """Does in a thread what belongs to the check of a file, once it is its tenant's turn; nothing if it waits already."""
        if file.id in self._known:
            return
        self._known.add(file.id)
        try:
            async with self._turns.turn(file.tenant, 1 + file.bytes / _COSTS_ONE):
                await anyio.to_thread.run_sync(action, limiter=self._threads)
        finally:
            self._known.discard(file.id)

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
