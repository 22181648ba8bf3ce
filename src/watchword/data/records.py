"""Records of public evaluation files: JSON lines, one JSON array, or CSV with a header; every record of one given shape."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from watchword.errors import DataError, EmptyFileError
from watchword.files.addresses import text_of

T = TypeVar("T")
# (line, field) of a record for error messages: a record of an array has no line of its own.
Place = tuple[int | None, str | None]


def read_records(path: Path | str, shape: type[T]) -> list[T]:
    """Every record of the file as a ``shape``, a msgspec Struct; keys that it does not have are left out.

    Raises DataError, with line or place, for a file that cannot be read, and for a record that is no ``shape``.
    """
    path = Path(path)
    found = [_record(raw, shape, place, path) for raw, place in _raw(text_of(path), path)]
    if not found:
        raise EmptyFileError("the file has no record; give one JSON object a line", path=path)
    return found


def _raw(text: str, path: Path) -> Iterator[tuple[Any, Place]]:
    if path.suffix.lower() == ".csv":
        return _csv(text, path)
    return _array(text, path) if text.lstrip().startswith("[") else _lines(text, path)


def _csv(text: str, path: Path) -> Iterator[tuple[Any, Place]]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        for row in reader:
            yield row, (reader.line_num, None)
    except csv.Error as error:
        raise DataError(
            f"the file is no CSV: {error}; quote fields with commas or line breaks", path=path, line=reader.line_num
        ) from None


def _array(text: str, path: Path) -> Iterator[tuple[Any, Place]]:
    for place, row in enumerate(_decoded(text, path, None)):
        yield row, (None, f"[{place}]")


def _lines(text: str, path: Path) -> Iterator[tuple[Any, Place]]:
    # Not splitlines: a text may hold U+2028 and its like.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield _decoded(line, path, number), (number, None)


def _decoded(text: str, path: Path, line: int | None) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DataError(f"this is no JSON: {error}; put one object on each line", path=path, line=line) from None


def _record(raw: Any, shape: type[T], place: Place, path: Path) -> T:
    try:
        # Not strict: all values of a CSV are texts.
        return msgspec.convert(raw, shape, strict=False)
    except msgspec.ValidationError as error:
        raise DataError(
            f"this is not what the file should hold: {error}; each record needs "
            f"{', '.join(field.name for field in msgspec.structs.fields(shape) if field.required)}",  # type: ignore[arg-type]
            path=path,
            line=place[0],
            field=place[1],
        ) from None
