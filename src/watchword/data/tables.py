"""Parquet files and folders of Hugging Face ``datasets`` as rows, read batch by batch with pyarrow alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from watchword.data.columns import check_columns, check_values
from watchword.data.limits import Limits
from watchword.data.reading import AS_IT_IS, Reading
from watchword.data.remarks import Remarks, column_left_out
from watchword.data.table_folders import parquet_shards, saved_dataset
from watchword.errors import DataError, UsageError

_PARQUET = b"PAR1"
# Rows that are decoded at once, at most and at least; and bytes that they should not go beyond together.
_BATCH, _FEW, _MEMORY = 64, 4, 1 << 29


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


def table_rows(
    path: Path, label: str | None = None, *, reading: Reading = AS_IT_IS, remarks: Remarks | None = None
) -> Iterator[dict[str, Any]]:
    """Every row as JSON-like values. Nulls are left out: Arrow writes one wherever a row lacks a key that another has.

    Raises DataError for a damaged file, a column that JSON has no value for, and a value that cannot be read. What goes
    beyond the limits of ``reading`` raises before it is in memory. ``label`` names a single file in messages.
    """
    for file in table_files(path):
        name = str(file) if label is None or path.is_dir() else label
        yield from _file_rows(file, name, reading, Remarks() if remarks is None else remarks)


def _file_rows(file: Path, label: str, reading: Reading, remarks: Remarks) -> Iterator[dict[str, Any]]:
    # A folder's .parquet is one whatever its first bytes are, so that a damaged one is called so.
    read = _parquet if file.suffix == ".parquet" or is_parquet(file) else _arrow
    row, size, packed = 0, 0, file.stat().st_size
    for coded, dropped in read(file, label, reading):
        batch = _decoded(coded)
        size += batch.nbytes
        reading.limits.check_expansion(packed, size, label)
        _check_rows(batch, row, label, reading.limits)
        yield from (_without_nulls(values) for values in _values(batch, row, label))
        row += batch.num_rows
        for name in dropped:
            remarks.count(column_left_out(name), batch.num_rows)


def _decoded(batch: Any) -> Any:
    """The batch with its values in place of numbers in a dictionary, so that a row is as big as it is."""
    arrow = _pyarrow()
    coded = arrow.types.is_dictionary
    columns = [column.dictionary_decode() if coded(column.type) else column for column in batch.columns]
    return arrow.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _check_rows(batch: Any, before: int, label: str, limits: Limits) -> None:
    """Raises DataError for a row that is too big, before there are Python values of it."""
    if batch.nbytes > limits.row_bytes:
        for row in range(batch.num_rows):
            limits.check_row(batch.slice(row, 1).nbytes, before + row + 1, label)


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


def _parquet(path: Path, label: str, reading: Reading) -> Iterator[tuple[Any, list[str]]]:
    arrow = _pyarrow()
    import pyarrow.parquet

    with _whole("the Parquet file", label), pyarrow.parquet.ParquetFile(path) as file:
        kept, dropped = _columns(file.schema_arrow, reading)
        check_columns(arrow, kept, label)
        size = 0
        for index in range(file.num_row_groups):
            group = file.metadata.row_group(index)
            size += group.total_byte_size
            reading.limits.check_expansion(path.stat().st_size, size, label)
            names = [column.name for column in kept]
            for batch in file.iter_batches(_batch_rows(group), row_groups=[index], columns=names):
                check_values(arrow, batch)
                yield batch, dropped


def _batch_rows(group: Any) -> int:
    """Rows to decode at once: a text that stands in the file once may be the value of every row."""
    largest = max((group.column(index).total_uncompressed_size for index in range(group.num_columns)), default=1)
    return max(_FEW, min(_BATCH, _MEMORY // max(largest, 1)))


def _columns(schema: Any, reading: Reading) -> tuple[list[Any], list[str]]:
    """The columns to read, and the names of those that are left out by request."""
    dropped = [name for name in schema.names if name in reading.drop_columns]
    return [column for column in schema if column.name not in dropped], dropped


def _arrow(path: Path, label: str, reading: Reading) -> Iterator[tuple[Any, list[str]]]:
    arrow = _pyarrow()
    # Not mapped into memory: a file that is cut while it is read would then end the whole process.
    with (
        _whole("the dataset's file", label),
        arrow.OSFile(str(path)) as source,
        arrow.ipc.open_stream(source) as batches,
    ):
        kept, dropped = _columns(batches.schema, reading)
        check_columns(arrow, kept, label)
        for whole in batches:
            batch = whole.select([column.name for column in kept])
            check_values(arrow, batch)
            yield from ((batch.slice(at, _BATCH), dropped) for at in range(0, batch.num_rows, _BATCH))


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
