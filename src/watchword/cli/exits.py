"""The exit status of ``watchword``: one for each branch of the error tree, and those of signals. docs/errors.md lists them."""

from __future__ import annotations

from watchword.errors import (
    CallError,
    DataError,
    ModelError,
    OutputError,
    RemoteError,
    SecretError,
    ServiceError,
    TrainingCancelledError,
    TrainingError,
    UsageError,
    WatchwordError,
)

OUTPUT = 7
INTERRUPTED = 130
STATUSES: dict[type[WatchwordError], int] = {
    WatchwordError: 1,
    UsageError: 2,
    DataError: 3,
    SecretError: 4,
    ModelError: 5,
    TrainingError: 6,
    TrainingCancelledError: INTERRUPTED,
    OutputError: OUTPUT,
    CallError: 8,
    ServiceError: 9,
    RemoteError: 10,
}


def exit_status(error: WatchwordError) -> int:
    """That of the nearest class above which has one."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
