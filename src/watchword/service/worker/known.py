"""The secrets of all releases, to look for them in tenants' files: each is unsealed once in a worker's life.

They are held in memory only. What a deleted model's seal held is forgotten with it.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from watchword.errors import SecretError, UnsealError
from watchword.secret.kept import SEALED
from watchword.secret.vault import unseal_known


class KnownReleases:
    """What stands sealed below ``releases``, a folder of models' folders of releases. Threads may share it."""

    def __init__(self, releases: Path, key: bytes) -> None:
        self._releases, self._key = releases, key
        self._opened: dict[Path, tuple[object, str | None]] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"KnownReleases({self._releases})"

    def texts(self) -> tuple[str, ...]:
        """The secrets that are there now. Raises SecretError for a seal that cannot be read."""
        with self._lock:
            before, self._opened = self._opened, {}
            for path in sorted(self._releases.glob(f"*/*/{SEALED}")):
                with contextlib.suppress(FileNotFoundError):
                    self._opened[path] = self._looked_at(path, before.get(path))
            return tuple(dict.fromkeys(text for _, text in self._opened.values() if text is not None))

    def _looked_at(self, path: Path, before: tuple[object, str | None] | None) -> tuple[object, str | None]:
        look = path.stat()
        stamp = look.st_ino, look.st_size, look.st_mtime_ns
        return before if before is not None and before[0] == stamp else (stamp, self._text(path))

    def _text(self, path: Path) -> str | None:
        """None where it does not open: it is another provider's."""
        try:
            return unseal_known(path.read_bytes(), self._key).reveal()
        except UnsealError:
            return None
        except FileNotFoundError:
            raise
        except OSError as error:
            raise SecretError(f"the sealed secret cannot be read: {error.strerror or error}", path=path) from None
