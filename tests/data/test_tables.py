"""Tables that cannot be rows, folders that lead elsewhere or hold several splits: one message each, never a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.guarding_rows import chat_row
from watchword.data.tables import table_files, table_rows
from watchword.errors import DataError

pyarrow = pytest.importorskip("pyarrow")
ROWS = [chat_row(number) for number in range(12)]


def parquet(path: Path, table: Any) -> Path:
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, path)
    return path


def text_column(*values: bytes) -> Any:
    """A column of strings whose bytes nobody has checked."""
    plain = pyarrow.array(list(values), pyarrow.binary())
    return pyarrow.Array.from_buffers(pyarrow.string(), len(values), plain.buffers())


def test_text_that_is_not_utf8_names_row_and_column(tmp_path: Path) -> None:
    many = [b"fine"] * 1500
    table = pyarrow.table({"prompt": text_column(*many, b"\xff\xfe"), "completion": ["b"] * 1501})
    with pytest.raises(DataError, match=r"line 1501, prompt: the value cannot be read .*; write the column as UTF-8"):
        list(table_rows(parquet(tmp_path / "x.parquet", table)))


def wild_column(*values: bytes) -> Any:
    """A column of strings whose second one starts far behind their bytes."""
    sound = pyarrow.array(list(values), pyarrow.binary())
    offsets = bytearray(sound.buffers()[1].to_pybytes())
    offsets[4:8] = (1 << 30).to_bytes(4, "little")
    buffers = [None, pyarrow.py_buffer(bytes(offsets)), sound.buffers()[2]]
    return pyarrow.Array.from_buffers(pyarrow.string(), len(values), buffers)


def listed(kind: Any) -> Callable[[Any], Any]:
    """The column's values as the elements of lists of this type."""

    def make(column: Any) -> Any:
        starts = range(len(column) + 1)
        if kind in (pyarrow.ListArray, pyarrow.LargeListArray):
            return kind.from_arrays(list(starts), column)
        return kind.from_arrays(list(starts)[:-1], [1] * len(column), column)

    return make


NESTINGS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda column: column,
    "struct": lambda column: pyarrow.StructArray.from_arrays([column], ["content"]),
    "dictionary": lambda column: pyarrow.DictionaryArray.from_arrays(pyarrow.array([0, 1]), column, safe=False),
    "fixed": lambda column: pyarrow.FixedSizeListArray.from_arrays(column, 1),
    "list": listed(pyarrow.ListArray),
    "large_list": listed(pyarrow.LargeListArray),
    "list_view": listed(pyarrow.ListViewArray),
    "large_list_view": listed(pyarrow.LargeListViewArray),
}


def saved(folder: Path, **columns: Any) -> Path:
    """A dataset's folder with these columns, which nobody has checked."""
    batch = pyarrow.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    with pyarrow.OSFile(str(folder / "data.arrow"), "wb") as sink, pyarrow.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    return folder


@pytest.mark.parametrize("text", [b"fine", b"\xff"], ids=["utf8", "not_utf8"])
@pytest.mark.parametrize("nesting", sorted(NESTINGS))
def test_offsets_that_point_elsewhere_are_damage_also_behind_text_that_is_not_utf8(
    tmp_path: Path, nesting: str, text: bytes
) -> None:
    nest = NESTINGS[nesting]
    folder = saved(tmp_path, prompt=nest(text_column(b"a", text)), completion=nest(wild_column(b"a", b"b")))
    with pytest.raises(DataError, match=r"dataset's file cannot be read \(.*[Oo]ffset.*\); write it again"):
        list(table_rows(folder))


@pytest.mark.parametrize("nesting", sorted(NESTINGS))
def test_text_that_is_not_utf8_is_named_however_it_is_nested(tmp_path: Path, nesting: str) -> None:
    folder = saved(tmp_path, prompt=NESTINGS[nesting](text_column(b"a", b"\xff")))
    with pytest.raises(DataError, match=r"line 2, prompt: the value cannot be read .*; write the column as UTF-8"):
        list(table_rows(folder))


@pytest.mark.parametrize(
    "kind",
    [
        pyarrow.timestamp("ns"),
        pyarrow.timestamp("us"),
        pyarrow.duration("ns"),
        pyarrow.date32(),
        pyarrow.time64("us"),
        pyarrow.decimal128(38, 2),
        pyarrow.binary(),
        pyarrow.map_(pyarrow.string(), pyarrow.string()),
    ],
    ids=str,
)
@pytest.mark.parametrize("nested", [False, True])
def test_types_that_json_lacks_are_refused_by_column(tmp_path: Path, kind: Any, nested: bool) -> None:
    kind = pyarrow.list_(pyarrow.struct([("when", kind)])) if nested else kind
    column = pyarrow.array([None, None], kind)
    table = pyarrow.table({"prompt": ["a", "b"], "at": column})
    place = r"at\.when" if nested else "at"
    with pytest.raises(DataError, match=rf"x\.parquet, {place}: the column's type is .*; write it as text"):
        list(table_rows(parquet(tmp_path / "x.parquet", table)))


def test_types_that_json_has_are_read(tmp_path: Path) -> None:
    texts = pyarrow.array(["a", "b", "a"])
    table = pyarrow.table(
        {
            "dictionary": texts.dictionary_encode(),
            "large": texts.cast(pyarrow.large_string()),
            "lists": pyarrow.array([["x"], [], None], pyarrow.large_list(pyarrow.string())),
            "numbers": pyarrow.array([1, 2, 3], pyarrow.uint64()),
            "nothing": pyarrow.nulls(3),
        }
    )
    rows = list(table_rows(parquet(tmp_path / "x.parquet", table)))
    assert rows[0] == {"dictionary": "a", "large": "a", "lists": ["x"], "numbers": 1}
    assert rows[2] == {"dictionary": "a", "large": "a", "numbers": 3}


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["prompt", "prompt"])
    with pytest.raises(DataError, match="prompt: 2 columns have this name; keep one"):
        list(table_rows(parquet(tmp_path / "x.parquet", table)))


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def scrambled(data: bytes) -> bytes:
    return data[:40] + b"\xaa" * 60 + data[100:]


@pytest.mark.parametrize("damage", [cut, scrambled])
@pytest.mark.parametrize("arrow", [False, True], ids=["parquet", "arrow"])
def test_damaged_tables_are_called_damaged(tmp_path: Path, damage: Callable[[bytes], bytes], arrow: bool) -> None:
    table = pyarrow.Table.from_pylist(ROWS)
    path = parquet(tmp_path / "rows.parquet", table)
    if arrow:
        path = tmp_path / "data.arrow"
        with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"file cannot be read \(.*\); write it again"):
        list(table_rows(tmp_path if arrow else path))


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"_data_files":[{}]}', '{"_data_files":null}', "{", "\udcff", "[" * 9999]
)
def test_a_damaged_state_is_one_message(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=r"state\.json: the file is damaged .*; save the dataset again"):
        table_files(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "damaged"),
        ("[]", "damaged"),
        ('{"splits":{}}', "damaged"),
        ('{"splits":[]}', "no split 'train' but none at all; give the folder of one split"),
        ('{"splits":["a","b"]}', "no split 'train' but a, b; give"),
        ('{"splits":["../x"]}', "names '../x', which is no plain name"),
    ],
)
def test_damaged_splits_are_one_message(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "dataset_dict.json").write_text(text)
    with pytest.raises(DataError, match=message):
        table_files(tmp_path)


@pytest.mark.parametrize("name", ["/etc/passwd", "../x.arrow", "a/../../x", "", ".", "..", "a\\b", "a\0b"])
def test_a_state_names_files_of_its_own_folder_only(tmp_path: Path, name: str) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(DataError, match=r"state\.json: it names .*, which is no plain name"):
        table_files(tmp_path)


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (
            ["data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"],
            ["data/train-00000-of-00001.parquet"],
        ),
        (["train/0.parquet", "train/1.parquet", "test/0.parquet"], ["train/0.parquet", "train/1.parquet"]),
        (["my_train.parquet", "my_validation.parquet"], ["my_train.parquet"]),
        (["data/train-0.parquet", "data/train-1.parquet"], ["data/train-0.parquet", "data/train-1.parquet"]),
        (["0.parquet", "deep/1.parquet"], ["0.parquet", "deep/1.parquet"]),
        (["latest.parquet", "trainee.parquet"], ["latest.parquet", "trainee.parquet"]),
    ],
)
def test_a_folder_of_splits_gives_its_training_split(tmp_path: Path, names: list[str], taken: list[str]) -> None:
    for name in names:
        parquet(tmp_path / name, pyarrow.Table.from_pylist(ROWS[:1]))
    assert table_files(tmp_path) == [tmp_path / name for name in taken]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["data/test-0.parquet", "data/validation-0.parquet"], r"other splits \(data/test-0.parquet\) but none"),
        (["test/0.parquet", "1.parquet"], "but none that is named train"),
        (["train-0.parquet", "more.parquet"], "more.parquet is not; name it train"),
    ],
)
def test_a_folder_without_a_clear_training_split_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        parquet(tmp_path / name, pyarrow.Table.from_pylist(ROWS[:1]))
    with pytest.raises(DataError, match=message):
        table_files(tmp_path)
