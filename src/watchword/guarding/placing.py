"""Puts secret, settings and manifest in place just before the data, and takes them back where the data does not follow."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from watchword.errors import OutputError, WatchwordError
from watchword.files.addresses import Address, target
from watchword.files.folders import SPOOL, sweep
from watchword.files.locks import locked
from watchword.guarding.journal import Change, Journal, close, recover, take_back
from watchword.secret.prompt import SecretPrompt
from watchword.secret.vault import secret_file_bytes, write_secret_file

# In one folder, one guarding after the other puts its files in place: some small ones and a rename (seconds).
_WAIT = 60.0
_FOLDER_LOCK = ".watchword-placing.lock"


class Placing(contextlib.ExitStack):
    """The files that belong to one OUT, as a context that ends when OUT stands, or when nothing new does.

    ``fresh`` is where a new ``secret`` goes. What goes to a stream or over the network cannot be taken back. Once it
    may have gone, the secret stays, and the error says so.
    """

    def __init__(self, out: Address, fresh: Path | None, secret: SecretPrompt | None, kept_in: Path | None) -> None:
        super().__init__()
        self.out, self.kept_in = out, kept_in
        self._secret = (fresh, secret) if fresh is not None and secret is not None else None
        self._made: tuple[Change, Path] | None = None
        self._gone = False
        self._staged: os.stat_result | None = None

    def before_writing(self) -> None:
        """Rows that go straight into a stream are gone; the secret must be kept before."""
        if self.out.is_stream:
            self._keep_secret()

    def place(self, files: Callable[[], Mapping[Address, bytes]], staged: str) -> None:
        """Puts everything in place but the data, which is complete at ``staged`` and will be renamed to OUT.

        ``files``: address → bytes, asked for when nobody else in the folder changes such files.
        """
        out = self.out.local
        if out is None:
            self._place_far(files)
            return
        self._staged = Path(staged).stat()
        self.enter_context(_alone_in_folder(out))
        given = files()
        near = {address.local: data for address, data in given.items() if address.local is not None}
        before = {self._secret[0]: secret_file_bytes(self._secret[1])} if self._secret else {}
        changes = [Change.of(path, data, out) for path, data in {**before, **near}.items()]
        Journal(Path(staged).name, changes).write(out)
        try:
            self._keep_secret()
            _write(given)
        except BaseException:
            # While the data is still staged, which tells the next run what to do if this one is killed here.
            take_back(out)
            raise

    def done(self) -> None:
        """OUT stands."""
        if self.out.local is not None:
            close(self.out.local)

    def take_back(self, error: BaseException) -> None:
        """Everything as it was before. Raises OutputError where data may have gone that cannot be had back."""
        if self.out.local is not None:
            if not self._stands(self.out.local):
                take_back(self.out.local)
            close(self.out.local)
        elif not self._gone:
            if self._made is not None:
                change, path = self._made
                change.take_back(path)
        elif isinstance(error, WatchwordError | KeyboardInterrupt):
            raise OutputError(
                f"{str(error) or 'stopped'}; {self.out} may be guarded already, perhaps without its settings or manifest: "
                f"remove it, or guard it again with `secret_ref={self.kept_in}`"
            ) from error

    def _stands(self, out: Path) -> bool:
        """Whether OUT is the new data already: what came then was too late."""
        with contextlib.suppress(FileNotFoundError):
            return self._staged is not None and os.path.samestat(self._staged, out.lstat())
        return False

    def _place_far(self, files: Callable[[], Mapping[Address, bytes]]) -> None:
        self._gone = self.out.is_stream
        self._keep_secret()
        _write(files())
        self._gone = True

    def _keep_secret(self) -> None:
        if self._secret is None:
            return
        path, secret = self._secret
        self._made, self._secret = (Change.of(path, secret_file_bytes(secret), path), path), None
        write_secret_file(path, secret)


def recovered(out: Path, *, keep: Path | None) -> bool:
    """``journal.recover`` when nobody else in the folder puts files in place; and no spool of a killed run is left there."""
    with _alone_in_folder(out):
        completed = recover(out, keep=keep)
    sweep(out.parent, SPOOL)
    return completed


def _alone_in_folder(out: Path) -> contextlib.AbstractContextManager[None]:
    return locked(out, at=out.with_name(_FOLDER_LOCK), wait=_WAIT)


def _write(files: Mapping[Address, bytes]) -> None:
    for address, data in files.items():
        with target(address) as stream:
            stream.write(data)
