"""Where finished cells stand; the only place that knows the names of files in a run's folder.

A cell's folder is built aside and renamed into place, ``cell.json`` in it names the digest of its neighbour, and a cell
counts as finished only if all of that agrees. So whatever a crash leaves behind is run again, never trusted.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from watchword.chat.files import replacing
from watchword.errors import OutputError
from watchword.lab.spec import Cell
from watchword.lab.stats import Rate

SCHEMA = 1
_CELLS, _CELL, _ANSWERS = "cells", "cell.json", "answers.jsonl"
_BUILDING = ".building-"
RESULTS, REPORT = "results.json", "report.html"


class TrainFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What training cost: seconds, tokens per second (padding apart), the loss of every step, rows by origin."""

    seconds: float
    tokens_per_second: float
    loss: list[float]
    tokens: int
    rows: dict[str, int]


class CellResult(msgspec.Struct, frozen=True, kw_only=True):
    """One element of ``cells`` in results.json. Rates are in percent; ``train`` is None where nothing was trained."""

    model: str
    attack: str
    attack_examples: int
    defense: str
    safety_examples: int
    anchors: int
    seed: int
    secret_tokens: int
    metrics: dict[str, Rate]
    train: TrainFigures | None = None
    key: str = ""
    cell: Cell | None = None


class Answer(msgspec.Struct, frozen=True):
    """One answer as it was judged: which question it belongs to, the prompt's id, prompt and response."""

    question: str
    id: str
    prompt: str
    response: str


class _Record(msgspec.Struct, frozen=True):
    schema: int
    answers_sha256: str
    result: CellResult


class Store:
    """Finished cells below one folder, by key."""

    def __init__(self, root: Path) -> None:
        self.cells = root / _CELLS
        with _writing(root):
            self.cells.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()

    def get(self, key: str) -> CellResult | None:
        """The finished cell, or None if there is none that can be trusted."""
        record = self._record(key)
        if record is None or record.schema != SCHEMA or record.result.key != key:
            return None
        try:
            answers = (self.cells / key / _ANSWERS).read_bytes()
        except OSError:
            return None
        return record.result if hashlib.sha256(answers).hexdigest() == record.answers_sha256 else None

    def put(self, key: str, cell: Cell, result: CellResult, answers: Sequence[Answer]) -> CellResult:
        """Keeps a finished cell; an untrusted one of the same key gives way. Raises OutputError."""
        result = msgspec.structs.replace(result, key=key, cell=cell)
        lines = b"".join(msgspec.json.encode(answer) + b"\n" for answer in answers)
        record = _Record(SCHEMA, hashlib.sha256(lines).hexdigest(), result)
        with self.run_folder(key) as aside, _writing(self.cells):
            with replacing(aside / _ANSWERS) as stream:
                stream.write(lines)
            with replacing(aside / _CELL) as stream:
                stream.write(msgspec.json.encode(record))
            self._put_in_place(aside, key)
        return result

    def answers(self, key: str) -> list[Answer]:
        """The answers of a finished cell."""
        lines = (self.cells / key / _ANSWERS).read_bytes().splitlines()
        return [msgspec.json.decode(line, type=Answer) for line in lines]

    @contextlib.contextmanager
    def run_folder(self, key: str) -> Iterator[Path]:
        """A scratch folder of this process for one run, gone afterwards."""
        with _writing(self.cells):
            folder = Path(tempfile.mkdtemp(prefix=f"{_BUILDING}{os.getpid()}-{key[:8]}-", dir=self.cells))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _record(self, key: str) -> _Record | None:
        try:
            return msgspec.json.decode((self.cells / key / _CELL).read_bytes(), type=_Record)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def _put_in_place(self, aside: Path, key: str) -> None:
        place = self.cells / key
        if place.exists() and self.get(key) is None:
            shutil.rmtree(place, ignore_errors=True)
        try:
            aside.rename(place)
        except OSError:
            # Another process was first; its cell is as good as ours.
            if self.get(key) is None:
                raise

    def _remove_leftovers(self) -> None:
        """Takes away what processes that are gone left unfinished."""
        for folder in self.cells.glob(f"{_BUILDING}*"):
            owner = folder.name.removeprefix(_BUILDING).partition("-")[0]
            if not (owner.isdigit() and _alive(int(owner))):
                shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _writing(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise OutputError(f"{place} cannot be written: {why}; choose a folder with room and write rights") from error
