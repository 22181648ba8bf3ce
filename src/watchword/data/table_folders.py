"""Which files of a folder hold its rows: of a saved dataset, or of Parquet shards as the Hugging Face hub lays them out."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeVar

import msgspec

from watchword.errors import DataError
from watchword.files.decoding import DECODE_ERRORS

T = TypeVar("T", bound=msgspec.Struct)
# The hub's words for splits, https://huggingface.co/docs/hub/datasets-file-names-and-splits; train first.
_SPLITS = {"train": "train", "training": "train"} | dict.fromkeys(
    ("validation", "valid", "val", "dev", "test", "testing", "eval", "evaluation"), "other"
)
_FILE_SPLIT = re.compile(rf"(?:^|[-._ 0-9])({'|'.join(_SPLITS)})(?=[-._ 0-9]|$)", re.IGNORECASE)
_FOLDER_SPLIT = re.compile(rf"({'|'.join(_SPLITS)})(?=[-._ 0-9]|$)", re.IGNORECASE)


class _DataFile(msgspec.Struct):
    filename: str


class _State(msgspec.Struct):
    data_files: list[_DataFile] = msgspec.field(name="_data_files")


class _Splits(msgspec.Struct):
    splits: list[str]


def saved_dataset(folder: Path) -> list[Path] | None:
    """The files of what ``Dataset.save_to_disk`` wrote; of a ``DatasetDict``, those of its training split."""
    state, splits = folder / "state.json", folder / "dataset_dict.json"
    if state.is_file():
        return [_inside(state, entry.filename) for entry in _decoded(state, _State).data_files]
    if not splits.is_file():
        return None
    names = _decoded(splits, _Splits).splits
    if "train" not in names and len(names) != 1:
        found = ", ".join(names) or "none at all"
        raise DataError(f"the dataset has no split 'train' but {found}; give the folder of one split", path=folder)
    return saved_dataset(_inside(splits, "train" if "train" in names else names[0]))


def parquet_shards(folder: Path) -> list[Path]:
    """All Parquet files where none names a split, else those of the training split. Raises DataError if there is none.

    Rows of a test split must not be trained on, and none of the tenant's rows may get lost without a word.
    """
    shards = sorted(folder.glob("**/*.parquet"))
    if not shards:
        raise DataError(
            "the folder holds neither a saved dataset (state.json) nor Parquet files; give a file, or such a folder",
            path=folder,
        )
    splits = {shard: _split_of(shard.relative_to(folder)) for shard in shards}
    if not any(splits.values()):
        return shards
    if "train" not in splits.values():
        other = next(shard for shard in shards if splits[shard] == "other")
        raise DataError(
            f"the folder has other splits ({other.relative_to(folder)}) but none that is named train; give the file or "
            "folder of the split to train on",
            path=folder,
        )
    unnamed = [str(shard.relative_to(folder)) for shard in shards if splits[shard] is None]
    if unnamed:
        raise DataError(
            f"some files are named for a split and {unnamed[0]} is not; name it train-….parquet, or take it out",
            path=folder,
        )
    return [shard for shard in shards if splits[shard] == "train"]


def _split_of(shard: Path) -> str | None:
    """By the file's name, or else by the nearest folder's."""
    named = _FILE_SPLIT.search(shard.stem) or next(
        (found for part in reversed(shard.parent.parts) if (found := _FOLDER_SPLIT.match(part))), None
    )
    return None if named is None else _SPLITS[named[1].lower()]


def _inside(listing: Path, name: str) -> Path:
    """The entry of this name beside its listing, which the tenant wrote and which must not lead anywhere else."""
    plain = PurePosixPath(name).name == name == PureWindowsPath(name).name
    if not plain or name in ("", "..") or "\0" in name:
        raise DataError(
            f"it names {name!r}, which is no plain name of an entry in its own folder; save the dataset again",
            path=listing,
        )
    return listing.parent / name


def _decoded(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except DECODE_ERRORS as error:
        raise DataError(f"the file is damaged ({error}); save the dataset again", path=path) from None
