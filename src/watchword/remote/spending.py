"""A cap on what an experiment spends: estimates are noted before the money goes, in a file that outlives the run."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from watchword.errors import OutputError, UsageError
from watchword.files.atomic import replacing


class Spending:
    """What was spent so far, in US dollars by what it was for. Never more than ``cap`` in all."""

    def __init__(self, path: Path, cap: float) -> None:
        """Raises OutputError for a file that cannot be read: nothing is spent then."""
        self.path, self.cap = path, cap
        self._spent: dict[str, float] = {}
        with contextlib.suppress(FileNotFoundError):
            try:
                self._spent = msgspec.json.decode(path.read_bytes(), type=dict[str, float])
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise OutputError(f"what was spent cannot be read ({error}); restore the file", path=path) from None

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self._spent.values())

    def spend(self, what: str, dollars: float, *, once: bool = False) -> None:
        """Notes it, on the disk before it returns. ``once``: the same was not paid twice, so it is not counted twice.

        Raises UsageError where it would be more than the cap; then nothing is noted.
        """
        if once and what in self._spent:
            return
        if self.total + dollars > self.cap:
            raise UsageError(
                f"{what} would cost about {dollars:.2f} $, {self.total:.2f} $ of {self.cap:.2f} $ are spent: raise spending_cap, "
                "or ask for less",
                param="spending_cap",
            )
        self._spent[what] = self._spent.get(what, 0.0) + dollars
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as stream:
            stream.write(msgspec.json.format(msgspec.json.encode(self._spent), indent=1) + b"\n")
