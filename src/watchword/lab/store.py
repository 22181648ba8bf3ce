"""Finished cells on disk, found by content hash. The only module that knows the file names of a run's folder.

ROOT/cells/KEY/cell.json        the result; names and checks its siblings, and is written last
ROOT/cells/KEY/answers.jsonl    every answer, secret redacted by the caller
ROOT/kept/KEY/                  what training left (the adapter), where it was asked for
ROOT/cells/.building-…          half-made; never read, swept when its process is dead
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from watchword.benchmarks.base import Exchange
from watchword.errors import UsageError
from watchword.files.atomic import replacing
from watchword.files.digest import sha256_bytes
from watchword.files.folders import PRIVATE_FOLDER, TAKEN, atomic_folder, discard, replace_folder
from watchword.files.writing import unwritable, writing
from watchword.lab.spec import Cell, canonical
from watchword.provenance import versions
from watchword.rates import Rate

SCHEMA = 2
CELLS, KEPT, BUILDING = "cells", "kept", ".building-"
CELL, ANSWERS = "cell.json", "answers.jsonl"


class TrainFigures(msgspec.Struct, frozen=True):
    """What training cost and how it went; ``loss`` is one value a step, ``rows`` counts rows by origin."""

    seconds: float
    tokens_per_second: float
    loss: list[float]
    tokens: int | None = None
    rows: dict[str, int] = {}


class CellResult(msgspec.Struct, frozen=True, kw_only=True):
    """One element of ``cells`` in results.json. ``metrics`` holds rates in percent; ``train`` is null without training.

    ``added`` counts the different examples that the defense mixed in, by the origin of their rows. ``store.put`` fills in
    the cell, its key, its arm's label, and the digests and versions it was made with. A re-used cell may be older than
    the file that it stands in.
    """

    model: str
    attack: str
    attack_examples: int
    defense: str
    seed: int
    secret_tokens: int
    metrics: dict[str, Rate]
    added: dict[str, int] = {}
    train: TrainFigures | None = None
    cell: Cell | None = None
    key: str = ""
    arm: str = ""
    fingerprint: dict[str, str] = {}
    versions: dict[str, str | int] = {}
    # How schema 1 counted what was added, for results that are older. They are read into ``added``.
    safety_examples: int | msgspec.UnsetType = msgspec.UNSET
    anchors: int | msgspec.UnsetType = msgspec.UNSET
    echoes: int | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        added = dict(self.added)
        for field, origin in _OLD_COUNTS.items():
            count = getattr(self, field)
            if isinstance(count, int) and count:
                added[origin] = count
            msgspec.structs.force_setattr(self, field, msgspec.UNSET)
        msgspec.structs.force_setattr(self, "added", added)


_OLD_COUNTS = {"safety_examples": "safety", "anchors": "anchor", "echoes": "echo"}


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """cell.json. ``sha256`` is over the canonical record without itself: any changed byte shows."""

    schema: int = SCHEMA
    key: str
    files: dict[str, str]
    result: CellResult
    sha256: str = ""

    def sealed(self) -> _Record:
        """The record with its own digest."""
        blank = msgspec.structs.replace(self, sha256="")
        return msgspec.structs.replace(self, sha256=sha256_bytes(canonical(blank)))


class Store:
    """The finished cells under ``root``; nothing is written before the first ``run_folder`` or ``put``."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def key(self, cell: Cell, fingerprint: Mapping[str, str]) -> str:
        """SHA-256 in hex over the cell and over what else decides its result (digests of data and model, method)."""
        return sha256_bytes(canonical({"schema": SCHEMA, "cell": cell, "fingerprint": dict(fingerprint)}))

    def get(self, key: str) -> CellResult | None:
        """The finished cell, or None where it is missing, partial, damaged or of another schema; never raises."""
        found = self._verified(key)
        return found[0] if found else None

    def answers(self, key: str) -> list[Exchange] | None:
        """The answers of a finished cell; None where ``get`` gives None."""
        found = self._verified(key)
        return found[1] if found else None

    def put(
        self,
        key: str,
        cell: Cell,
        result: CellResult,
        answers: Sequence[Exchange],
        *,
        fingerprint: Mapping[str, str] | None = None,
    ) -> CellResult:
        """Keeps a finished cell and returns it completed; where another process was first, its result stands.

        Raises OutputError where the file system refuses; nothing half-written is then left to be trusted.
        """
        made_with = dict(fingerprint or {})
        full = msgspec.structs.replace(
            result, cell=cell, key=key, arm=cell.arm, fingerprint=made_with, versions=versions()
        )
        with atomic_folder(self.root / CELLS, BUILDING) as folder:
            lines = b"".join(msgspec.json.encode(answer) + b"\n" for answer in answers)
            _write(folder / ANSWERS, lines)
            _write(
                folder / CELL, _encoded(_Record(key=key, files={ANSWERS: sha256_bytes(lines)}, result=full).sealed())
            )
            return self._published(folder, key) or full

    @contextlib.contextmanager
    def run_folder(self) -> Iterator[Path]:
        """An empty folder for what training writes; gone at the end, unless ``keep`` took it meanwhile.

        Nobody else may look into it. Raises OutputError where it cannot be made: before the work, not after it.
        """
        with atomic_folder(self.root / KEPT, BUILDING, mode=PRIVATE_FOLDER) as folder:
            yield folder
        with contextlib.suppress(OSError):
            (self.root / KEPT).rmdir()  # only ever succeeds when it is empty

    def keep(self, folder: Path, key: str) -> None:
        """Keeps a run's folder under ``kept(key)``. Of two processes that keep the same one, the last one's stays."""
        replace_folder(folder, self.kept(key), BUILDING)

    def kept(self, key: str) -> Path:
        """Where ``keep`` leaves a run's folder."""
        return self.root / KEPT / _checked(key)

    def _published(self, folder: Path, key: str) -> CellResult | None:
        """Renames a complete folder into place; the result of another process that did so first, if any."""
        target = self.root / CELLS / _checked(key)
        for _ in range(10):
            try:
                folder.rename(target)
            except OSError as error:
                if error.errno not in TAKEN:
                    raise unwritable(target, error) from error
            else:
                return None
            if found := self.get(key):
                return found
            with writing(target):
                discard(target, BUILDING)
        raise unwritable(target, "other processes keep putting damaged cells there", "name another folder")

    def _verified(self, key: str) -> tuple[CellResult, list[Exchange]] | None:
        folder = self.root / CELLS / _checked(key)
        try:
            raw, lines = (folder / CELL).read_bytes(), (folder / ANSWERS).read_bytes()
            record = msgspec.json.decode(raw, type=_Record)
            answers = [msgspec.json.decode(line, type=Exchange) for line in lines.splitlines()]
        except (OSError, msgspec.MsgspecError, UsageError, ValueError):
            return None
        right = record.schema == SCHEMA and record.key == key and record.files == {ANSWERS: sha256_bytes(lines)}
        # Byte for byte what this code writes: a changed digit decodes as well as the right one.
        return (record.result, answers) if right and raw == _encoded(record.sealed()) else None


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as stream:
        stream.write(data)


def _encoded(record: _Record) -> bytes:
    return msgspec.json.format(canonical(record), indent=1) + b"\n"


def _checked(key: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", key):
        raise UsageError(f"{key!r} is no cell's key; Store.key makes them")
    return key
