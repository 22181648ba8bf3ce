"""Parquet files and folders of Hugging Face ``datasets`` as rows, read batch by batch with pyarrow alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from watchword.errors import DataError, UsageError
from watchword.guarding.columns import check_columns, check_values
from watchword.guarding.folders import parquet_shards, saved_dataset

_PARQUET = b"PAR1"
_BATCH = 1_000


def is_table(path: Path) -> bool:
    """Whether the path is a Parquet file or a folder."""
    return path.is_dir() or is_parquet(path)


def is_parquet(path: Path) -> bool:
    """Whether it is a Parquet file, by its first bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(4) == _PARQUET


def table_files(path: Path) -> list[Path]:
    """The files that hold the rows, in order. Raises DataError for a folder without any."""
    if path.is_file():
        return [path]
    saved = saved_dataset(path)
    return parquet_shards(path) if saved is None else saved


def table_rows(path: Path, label: str | None = None) -> Iterator[dict[str, Any]]:
    """Every row as JSON-like values. Nulls are left out: Arrow writes one wherever a row lacks a key that another has.

    Raises DataError for a damaged file, a column that JSON has no value for, and a value that cannot be read. ``label``
    names a single file in messages.
    """
    for file in table_files(path):
        yield from _file_rows(file, str(file) if label is None or path.is_dir() else label)


def _file_rows(file: Path, label: str) -> Iterator[dict[str, Any]]:
    # A folder's .parquet is one whatever its first bytes are, so that a damaged one is called so.
    batches = _parquet(file, label) if file.suffix == ".parquet" or is_parquet(file) else _arrow(file, label)
    row = 0
    for batch in batches:
        yield from (_without_nulls(values) for values in _values(batch, row, label))
        row += batch.num_rows


def _values(batch: Any, before: int, label: str) -> list[dict[str, Any]]:
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError):
        raise _bad_value(batch, before, label) from None


def _bad_value(batch: Any, before: int, label: str) -> DataError:
    """Names the first value of a batch that Python cannot take: text that is not UTF-8."""
    for row in range(batch.num_rows):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            try:
                column[row].as_py()
            except (ValueError, OverflowError) as error:
                fix = "write the column as UTF-8 text"
                return DataError(
                    f"the value cannot be read ({error}); {fix}", path=label, line=before + row + 1, field=name
                )
    return DataError("a value cannot be read; write the Parquet file again", path=label, line=before + 1)


def _parquet(path: Path, label: str) -> Iterator[Any]:
    arrow = _pyarrow()
    import pyarrow.parquet

    with _whole("the Parquet file", label), pyarrow.parquet.ParquetFile(path) as file:
        check_columns(arrow, file.schema_arrow, label)
        for batch in file.iter_batches(_BATCH):
            check_values(arrow, batch)
            yield batch


def _arrow(path: Path, label: str) -> Iterator[Any]:
    arrow = _pyarrow()
    # Not mapped into memory: a file that is cut while it is read would then end the whole process.
    with (
        _whole("the dataset's file", label),
        arrow.OSFile(str(path)) as source,
        arrow.ipc.open_stream(source) as batches,
    ):
        check_columns(arrow, batches.schema, label)
        for batch in batches:
            check_values(arrow, batch)
            yield from (batch.slice(at, _BATCH) for at in range(0, batch.num_rows, _BATCH))


@contextlib.contextmanager
def _whole(what: str, label: str) -> Iterator[None]:
    """Says of damaged bytes that they are damaged. Arrow calls some an OSError, but one without the system's number."""
    try:
        yield
    except (_pyarrow().ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(f"{what} cannot be read ({error}); write it again", path=label) from None


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise UsageError(
            "reading Parquet and datasets needs the extra 'guard': pip install 'watchword[guard]'"
        ) from None
    return pyarrow


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list):
        return [_without_nulls(entry) for entry in value]
    return value
