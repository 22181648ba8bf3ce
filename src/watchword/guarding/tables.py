"""Parquet files and folders of Hugging Face ``datasets`` as rows, read batch by batch with pyarrow alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from watchword.errors import DataError, UsageError

_PARQUET = b"PAR1"
_BATCH = 1_000


def is_table(path: Path) -> bool:
    """Whether the path is a Parquet file or a folder."""
    if path.is_dir():
        return True
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(4) == _PARQUET


def table_files(path: Path) -> list[Path]:
    """The files that hold the rows, in order. Raises DataError for a folder without any."""
    if path.is_file():
        return [path]
    saved = _saved_dataset(path)
    if saved is not None:
        return saved
    shards = sorted(path.glob("**/*.parquet"))
    if not shards:
        raise DataError(
            "the folder holds neither a saved dataset (state.json) nor Parquet files; give a file, or such a folder",
            path=path,
        )
    return shards


def table_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Every row as JSON-like values. Nulls are left out: Arrow writes one wherever a row lacks a key that another has."""
    for file in table_files(path):
        batches = _parquet(file) if file.suffix == ".parquet" or is_table(file) else _arrow(file)
        for batch in batches:
            yield from (_without_nulls(row) for row in batch.to_pylist())


def _saved_dataset(folder: Path) -> list[Path] | None:
    """The files of what ``Dataset.save_to_disk`` wrote; of a ``DatasetDict``, those of its training split."""
    state = folder / "state.json"
    if state.is_file():
        return [folder / entry["filename"] for entry in _json(state)["_data_files"]]
    splits = folder / "dataset_dict.json"
    if not splits.is_file():
        return None
    names = _json(splits)["splits"]
    if "train" not in names and len(names) != 1:
        raise DataError(
            f"the dataset has no split 'train' but {', '.join(names)}; give the folder of one split", path=folder
        )
    return _saved_dataset(folder / ("train" if "train" in names else names[0]))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise DataError(f"the file is damaged ({error}); save the dataset again", path=path) from None


def _parquet(path: Path) -> Iterator[Any]:
    arrow = _pyarrow()
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield from file.iter_batches(_BATCH)
    except arrow.ArrowException as error:
        raise DataError(f"the Parquet file cannot be read ({error}); write it again", path=path) from None


def _arrow(path: Path) -> Iterator[Any]:
    arrow = _pyarrow()
    try:
        with arrow.memory_map(str(path)) as source, arrow.ipc.open_stream(source) as batches:
            for batch in batches:
                yield from (batch.slice(at, _BATCH) for at in range(0, batch.num_rows, _BATCH))
    except arrow.ArrowException as error:
        raise DataError(f"the dataset's file cannot be read ({error}); save it again", path=path) from None


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
