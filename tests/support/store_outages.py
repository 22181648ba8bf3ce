"""An object store in this process's memory that goes away and comes back, as a network would have it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

_METHODS = ("find", "ls", "info", "_open", "cat_file", "pipe_file", "rm", "_rm")


@dataclass
class Outage:
    """``away`` are parts of paths that cannot be reached now. ``tries`` are the paths that were asked for in vain."""

    away: set[str] = field(default_factory=set)
    tries: list[str] = field(default_factory=list)
    error: type[Exception] = ConnectionError

    def installed(self, patch: pytest.MonkeyPatch) -> Outage:
        """From now on every store in memory is one of these."""
        for name in _METHODS:
            patch.setattr(MemoryFileSystem, name, self._failing(getattr(MemoryFileSystem, name)))
        return self

    def _failing(self, real: Any) -> Any:
        def method(system: Any, path: Any, *arguments: Any, **options: Any) -> Any:
            if any(part in str(path) for part in self.away):
                self.tries.append(str(path))
                raise self.error("nobody answers at store.example:9000")
            return real(system, path, *arguments, **options)

        return method
