"""What the service's stores refuse, as one error: whoever needs a store can then wait for it, and fails for nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from watchword.errors import OutputError, StoreError
from watchword.files.addresses import Address
from watchword.files.remote import file_system


@contextlib.contextmanager
def store_at(place: Address, what: str) -> Iterator[tuple[Any, str]]:
    """fsspec's file system of a URL, and the path in it. Whatever it says inside is a StoreError about ``what``."""

    def refused(why: str) -> StoreError:
        return unusable(place, why, what)

    with file_system(place.whole, refused) as found:
        yield found


@contextlib.contextmanager
def folder_at(place: Path, what: str) -> Iterator[None]:
    """The same for a folder of this machine, which may be full, or another machine's."""
    try:
        yield
    except OSError as error:
        raise unusable(place, error.strerror or str(error), what) from error
    except OutputError as error:
        raise StoreError(error.problem, path=error.path) from error


def unusable(place: object, why: str, what: str) -> StoreError:
    """The error to raise about a store's ``place``; ``what`` is kept there."""
    return StoreError(
        f"{what} cannot be used: {why}; check the address, the room and your rights there", path=str(place)
    )


def exists(place: Address, what: str) -> bool:
    """Whether something is there. Raises StoreError where nobody can tell: many clients answer no for a store that is away."""
    if place.local is not None:
        with folder_at(place.local, what):
            try:
                place.local.stat()
            except FileNotFoundError:
                return False
            return True
    with store_at(place, what) as (system, path):
        try:
            system.info(path)
        except FileNotFoundError:
            return False
    return True


@dataclass
class StoreLook:
    """Looks whether the store at ``place`` answers. One look at a time: a store that is silent must not take all threads."""

    place: Address
    _looking: asyncio.Task[bool] | None = field(init=False, default=None)

    async def answers(self) -> bool:
        """Whether it does; whoever asks meanwhile waits for the same look. Raises StoreError."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(asyncio.to_thread(self._look))
            # Whoever has asked may have gone by then.
            self._looking.add_done_callback(lambda look: look.cancelled() or look.exception())
        return await asyncio.shield(self._looking)

    def _look(self) -> bool:
        # Nothing may have been put there yet.
        exists(self.place, "the store")
        return True
