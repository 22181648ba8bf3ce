"""The files of one guarding change together: OUT by one rename, and all others before it, noted so that they can be taken back.

``.OUT.journal`` stands beside OUT from before the first of the others changes until OUT has. A run that was killed in between
leaves it there, and the next one on this OUT puts everything back as it was. A run that was killed after OUT was renamed has
happened, and all that belongs to it is in place.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import msgspec

from watchword.errors import OutputError
from watchword.files.addresses import Address, written_before
from watchword.files.atomic import replacing, sweep_temporaries
from watchword.files.digest import sha256_bytes
from watchword.files.folders import PRIVATE_FILE
from watchword.files.writing import sync_folder, writing

SCHEMA = 1


class Change(msgspec.Struct, frozen=True):
    """A file that becomes ``new`` (SHA-256 in hex); before, it held ``old`` with this mode, or was not there (None).

    ``path`` is a name in OUT's own folder, which may be moved as a whole, or else absolute.
    """

    path: str
    new: str
    old: bytes | None = None
    mode: int = PRIVATE_FILE

    @classmethod
    def of(cls, path: Path, new: bytes, out: Path) -> Change:
        """What writing these bytes there will change. Raises OutputError where the old ones cannot be read."""
        old = written_before(Address(path))
        mode = PRIVATE_FILE if old is None else path.stat().st_mode & 0o777
        place = path.name if path.absolute().parent == out.absolute().parent else str(path.absolute())
        return cls(place, sha256_bytes(new), old, mode)

    def at(self, out: Path) -> Path:
        """Where the file is."""
        return out.parent / self.path

    def take_back(self, out: Path) -> None:
        """Puts the old bytes back, unless somebody else has written there since. Raises OutputError."""
        path = self.at(out)
        now = written_before(Address(path))
        if self.old is None:
            # An empty one has taken the name for it, where there are no hard links.
            if now is not None and (now == b"" or self._is_new(now)):
                with writing(path):
                    path.unlink()
                    sync_folder(path.parent)
        elif now is not None and self._is_new(now):
            with replacing(path, mode=self.mode) as stream:
                stream.write(self.old)

    def _is_new(self, data: bytes) -> bool:
        return sha256_bytes(data) == self.new


class Journal(msgspec.Struct, frozen=True):
    """What is under way: ``changes``, and then the rename of ``staged``, a file beside OUT, to OUT."""

    staged: str
    changes: list[Change]
    schema: int = SCHEMA

    def write(self, out: Path) -> None:
        """Notes it beside OUT. Raises OutputError."""
        with replacing(journal_path(out), mode=PRIVATE_FILE) as stream:
            stream.write(msgspec.json.encode(self))


def journal_path(out: Path) -> Path:
    """Where the journal of an output stands."""
    return out.with_name(f".{out.name}.journal")


def recover(out: Path, *, keep: Path | None = None) -> bool:
    """Takes back what a killed run has left of its changes; the file to ``keep`` stays. True if that run was complete.

    The run was complete if the new data no longer waits under its hidden name; OUT itself may have been moved away
    since. The caller must hold the lock on OUT. Raises OutputError for a journal that cannot be read, and where a file
    cannot be put back. The journal then stays, and the next run tries again.
    """
    journal = _read(out)
    complete = journal is not None and not out.with_name(journal.staged).exists()
    if not complete:
        take_back(out, keep=keep)
    close(out)
    for path in (out, *(change.at(out) for change in (journal.changes if journal else ()))):
        sweep_temporaries(path)
    return complete


def take_back(out: Path, *, keep: Path | None = None) -> None:
    """Puts back what the journal names, if there is one. Raises OutputError."""
    journal = _read(out)
    for change in journal.changes if journal else ():
        if keep is None or change.at(out).absolute() != keep.absolute():
            change.take_back(out)


def close(out: Path) -> None:
    """Removes the journal of what is complete, or taken back. Raises OutputError."""
    with writing(journal_path(out)):
        journal_path(out).unlink(missing_ok=True)
        sync_folder(out.parent)


def _read(out: Path) -> Journal | None:
    path = journal_path(out)
    sweep_temporaries(path)
    if not os.path.lexists(path):
        return None
    data = written_before(Address(path)) or b""
    journal = None
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
        journal = msgspec.json.decode(data, type=Journal)
    if journal is None or journal.schema != SCHEMA or not _ours(path):
        raise OutputError(
            f"this is to tell what a broken-off run has changed, and it is damaged or not this user's own; see that {out.name}, "
            "its manifest, settings and secret belong together, then remove it",
            path=path,
        )
    return journal


def _ours(path: Path) -> bool:
    """What it names is written and removed: nobody else may have had a hand in it."""
    found = path.lstat()
    private = stat.S_ISREG(found.st_mode) and not found.st_mode & 0o077
    return os.name == "nt" or (private and found.st_uid == os.getuid())
