"""Where a training on a cluster keeps its checkpoints and weights: any storage that fsspec knows and all machines reach."""

from __future__ import annotations

import contextlib
import posixpath
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watchword.errors import StoreError, UsageError
from watchword.files.folders import make_private
from watchword.files.remote import refusing, without_credentials
from watchword.files.writing import writing

WEIGHTS = "weights"
# As the loop itself keeps.
_KEPT = 2


@dataclass(frozen=True)
class RunStorage:
    """The folder ``path`` of one run on a file system of fsspec. Folders in it hold files only."""

    system: Any
    path: str

    @classmethod
    def at(cls, address: str, run: str) -> RunStorage:
        """A run's folder at a path or URL. Raises UsageError for an address that fsspec does not take."""
        import fsspec

        try:
            system, path = fsspec.url_to_fs(address)
        except (OSError, ValueError, ImportError) as error:
            raise UsageError(
                f"the storage of the launcher cannot be used: {without_credentials(str(error))}; give a folder that all "
                "machines see, or a URL that fsspec knows",
                param="storage",
            ) from None
        return cls(system, posixpath.join(path, run))

    def keep_private(self) -> None:
        """Makes the run's folder one that nobody else may read, before Ray makes it by the umask. URLs have their own rights."""
        from fsspec.implementations.local import LocalFileSystem

        if isinstance(self.system, LocalFileSystem):
            folder = Path(self.path)
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
            make_private(folder)

    def arrow(self) -> Any:
        """The file system in the form in which Ray takes it."""
        from pyarrow.fs import FSSpecHandler, PyFileSystem

        return PyFileSystem(FSSpecHandler(self.system))

    def put(self, folder: Path, name: str) -> None:
        """Copies a folder's files into the run's folder ``name``. Raises StoreError."""
        with refusing(self.path, _refused):
            self.system.makedirs(self._of(name), exist_ok=True)
            for file in folder.iterdir():
                if file.is_file():
                    self.system.put_file(str(file), posixpath.join(self._of(name), file.name))

    def fetch(self, name: str, into: Path) -> None:
        """Copies the files of the run's folder ``name``. Raises StoreError; FileNotFoundError where it is gone."""
        with refusing(self.path, _refused, passing=(FileNotFoundError,)):
            found = self.system.ls(self._of(name), detail=False)
            with writing(into):
                into.mkdir(parents=True, exist_ok=True)
            for file in found:
                self.system.get_file(file, str(into / posixpath.basename(file)))

    def bring_home(self, step: int, folder: Path) -> None:
        """Copies a checkpoint into ``folder``, where it appears whole. Of those there, the newest are kept.

        One that is gone already has a newer one behind it.
        """
        name, unfinished = f"checkpoint-{step}", folder / f".checkpoint-{step}"
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            self.fetch(name, unfinished)
        except FileNotFoundError:
            shutil.rmtree(unfinished, ignore_errors=True)
            return
        make_private(unfinished)
        with writing(folder):
            shutil.rmtree(folder / name, ignore_errors=True)
            unfinished.rename(folder / name)
        steps = sorted(int(path.name.removeprefix("checkpoint-")) for path in folder.glob("checkpoint-*"))
        for old in steps[:-_KEPT]:
            shutil.rmtree(folder / f"checkpoint-{old}", ignore_errors=True)

    def remove(self) -> None:
        """Deletes everything of the run. Raises StoreError."""
        with contextlib.suppress(FileNotFoundError), refusing(self.path, _refused, passing=(FileNotFoundError,)):
            self.system.rm(self.path, recursive=True)

    def _of(self, name: str) -> str:
        return posixpath.join(self.path, name)


def _refused(why: str) -> StoreError:
    return StoreError(f"the storage of the training failed: {why}; check its address, its room and your rights there")
