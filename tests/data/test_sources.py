"""Every way in which a tenant may send rows, and what is said of a source that cannot be read."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import json
import lzma
import os
import resource
import struct
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.guarding_rows import chat_row, write_rows
from watchword.data.formats.base import FORMATS
from watchword.data.rows import read_conversations, write_conversations
from watchword.data.sources import local_rows, prepared
from watchword.errors import DataError, OutputError, UsageError
from watchword.files.addresses import Address

zstandard = pytest.importorskip("zstandard")
pyarrow = pytest.importorskip("pyarrow")
ROWS = [chat_row(number) for number in range(12)]


def guarded_lines(source: Path | str, **options: Any) -> bytes:
    with prepared(Address.parse(source), **options) as ready:
        return ready.path.read_bytes()[ready.skip :]


def rows_in(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", ROWS)


def test_a_plain_file_is_read_where_it_lies(plain: Path) -> None:
    with prepared(Address.parse(plain)) as ready:
        assert ready.path == plain
        assert not ready.converted
        assert (ready.format, ready.digest) == ("openai", None)


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data[:999]) + gzip.compress(data[999:])


def zstd(data: bytes) -> bytes:
    make = zstandard.ZstdCompressor().compress
    return bytes(make(data[:999]) + make(data[999:]))


def zstd_behind_a_skipped_frame(data: bytes) -> bytes:
    return b"\x50\x2a\x4d\x18" + struct.pack("<I", 4) + b"size" + zstd(data)


@pytest.mark.parametrize("pack", [gzipped, zstd, zstd_behind_a_skipped_frame], ids=["gzip", "zstd", "skipped"])
def test_compressed_files_by_their_first_bytes(plain: Path, tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    packed = tmp_path / "no-suffix"
    packed.write_bytes(pack(plain.read_bytes()))
    assert guarded_lines(packed) == plain.read_bytes()


@pytest.mark.parametrize("pack", [gzipped, zstd], ids=["gzip", "zstd"])
@pytest.mark.parametrize("damage", ["cut", "wrong"])
def test_damaged_compression_is_one_message(plain: Path, tmp_path: Path, pack: Any, damage: str) -> None:
    data = bytearray(pack(plain.read_bytes()))
    if damage == "cut":
        del data[-40:]
    else:
        data[20:60] = b"\0" * 40
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(DataError, match=r"bad: .*(damaged or cut|not UTF-8|broken JSON)"):
        guarded_lines(tmp_path / "bad")


@pytest.mark.parametrize("name", ["alpaca", "sharegpt", "prompt_completion"])
def test_other_formats_become_chat_lines(tmp_path: Path, name: str) -> None:
    rows = [chat_row(number, system=None) for number in range(3)]
    convs = [conv for _, conv in read_conversations(write_rows(tmp_path / "chat.jsonl", rows))]
    made = [FORMATS.create(name).from_conversation(conv) for conv in convs]
    source = write_rows(tmp_path / "rows.jsonl", made)
    with prepared(Address.parse(source)) as ready:
        assert ready.format == name
        assert ready.converted
        assert [conv for _, conv in read_conversations(ready.path)] == convs


def test_an_array_becomes_lines_of_its_own_text(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps(ROWS, indent=2))
    assert [json.loads(line) for line in guarded_lines(tmp_path / "rows.json").splitlines()] == ROWS


def test_parquet_and_saved_datasets(tmp_path: Path) -> None:
    import pyarrow.parquet

    datasets = pytest.importorskip("datasets")
    rows = [{**ROWS[0], "tools": [{"type": "function", "function": {"name": "f"}}]}, *ROWS]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    data = datasets.Dataset.from_list(rows)
    data.save_to_disk(str(tmp_path / "saved"))
    datasets.DatasetDict({"train": data, "test": data}).save_to_disk(str(tmp_path / "splits"))
    for source in ("rows.parquet", "saved", "splits"):
        assert [json.loads(line) for line in guarded_lines(tmp_path / source).splitlines()] == rows


def test_a_folder_of_parquet_shards(tmp_path: Path) -> None:
    import pyarrow.parquet

    (tmp_path / "shards").mkdir()
    for number, part in enumerate((ROWS[:5], ROWS[5:])):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(part), tmp_path / "shards" / f"{number}.parquet")
    assert [json.loads(line) for line in guarded_lines(tmp_path / "shards").splitlines()] == ROWS


@pytest.mark.parametrize("pack", [bytes, gzipped], ids=["plain", "gzip"])
def test_addresses(plain: Path, pack: Callable[[bytes], bytes]) -> None:
    import fsspec

    with fsspec.open("memory://tenant/rows.jsonl", "wb") as stream:
        stream.write(pack(plain.read_bytes()))
    assert guarded_lines("memory://tenant/rows.jsonl") == plain.read_bytes()


def test_a_pipe_is_read_once(plain: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(plain.read_bytes()))
    writer.start()
    assert guarded_lines(tmp_path / "pipe") == plain.read_bytes()
    writer.join()


def test_an_address_of_a_local_folder_is_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_parquet(tmp_path / "data" / "0.parquet", ROWS)
    for scheme in ("file", "local"):
        with prepared(Address.parse(f"{scheme}://{tmp_path / 'data'}")) as ready:
            assert ready.label == str(tmp_path / "data")
            assert rows_in(ready.path) == ROWS


def test_a_folder_elsewhere_is_refused_as_one() -> None:
    import fsspec

    with fsspec.open("memory://upload/data/0.parquet", "wb") as stream:
        stream.write(b"PAR1")
    with pytest.raises(DataError, match="memory://upload/data: the address is a folder; give the address of one file"):
        guarded_lines("memory://upload/data")


def test_parquet_wherever_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    data = write_parquet(tmp_path / "rows.parquet", ROWS).read_bytes()
    with fsspec.open("memory://tenant/part-0", "wb") as stream:
        stream.write(data)
    (tmp_path / "rows.parquet.gz").write_bytes(gzip.compress(data))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    for source in ("memory://tenant/part-0", tmp_path / "rows.parquet.gz", "-"):
        assert [json.loads(line) for line in guarded_lines(source).splitlines()] == ROWS


def test_damaged_parquet_from_elsewhere_is_named_by_its_address() -> None:
    import fsspec

    with fsspec.open("memory://tenant/cut.parquet", "wb") as stream:
        stream.write(b"PAR1 nothing of the kind")
    with pytest.raises(DataError, match=r"memory://tenant/cut\.parquet: the Parquet file cannot be read"):
        guarded_lines("memory://tenant/cut.parquet")


@pytest.mark.parametrize("packed", [False, True], ids=["table", "gzip"])
def test_a_full_disk_is_not_the_tenants_fault(tmp_path: Path, packed: bool) -> None:
    source = write_parquet(tmp_path / "rows.parquet", ROWS)
    if packed:
        source = tmp_path / "rows.gz"
        source.write_bytes(gzip.compress(os.urandom(100) * 40_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(
            OutputError, match=rf"{tmp_path}/\S+: no temporary file can be written: .*set TMPDIR"
        ) as caught:
            guarded_lines(source, scratch=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.code == "output_failed"
    assert "rows." not in str(caught.value)


def test_a_temporary_folder_that_cannot_be_made(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as refused:
        refused.setattr("os.mkdir", full)
        with pytest.raises(
            OutputError,
            match=f"{tmp_path}: no temporary file can be written: the output cannot be written: No space left",
        ):
            guarded_lines(plain, scratch=tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr("os.open", full)
    with pytest.raises(OutputError, match=r"no temporary file can be written: .*; TMPDIR names another folder"):
        guarded_lines(plain)


def test_temporary_files_are_private_and_go_away(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "packed").write_bytes(gzipped(plain.read_bytes()))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with local_rows(Address.parse(tmp_path / "packed"), scratch=scratch) as raw:
        assert raw.path.stat().st_mode & 0o777 == 0o600
        assert raw.path.parent.parent == scratch
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file has no row"),
        (b"\n \n", "the file has no row"),
        (b"{", "line 1: broken JSON at column 2"),
        (b"[1,", r"line 1: broken JSON"),
        (b"[1]", "line 1: a row must be an object"),
        (b"5\n", "line 1: a row must be an object"),
        (b'{"txt": "x"}\n', "the row has no known format"),
        (b'{"text": "x"}\n', "line 1: the row is running text, .* not supported"),
        ('{"messages": []}'.encode("utf-16"), "the file is UTF-16"),
        (b'{"instruction": "x", "output": 5}\n', "line 1, output: 5 is a number"),
        (b"PAR1 nothing of the kind", "the Parquet file cannot be read"),
        (b"\xff\xff\xff", "is not UTF-8"),
        (bz2.compress(b"x"), "the file is bzip2; unpack it"),
        (lzma.compress(b"x"), "the file is xz; unpack it"),
        (b"PK\x03\x04rest", "the file is zip; unpack it"),
        (b"\0" * 50, "line 1: the file holds NUL bytes"),
        ('{"messages": []}'.encode("utf-16-le"), "line 1: the file holds NUL bytes, so it is binary or UTF-16"),
        (b'{"prompt": "a", "completion": "b"}\r' * 2, "line 1: carriage returns alone"),
        (json.dumps(ROWS[0], indent=2).encode(), "line 1: one row is spread over several lines"),
        (json.dumps(ROWS[0], indent=None).replace("[", "[\n ").encode(), "line 1: one row is spread over"),
    ],
)
def test_what_cannot_be_read_is_one_message(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        guarded_lines(tmp_path / "bad")
    assert "bad" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.jsonl", "the file cannot be read: No such file"),
        ("nonsense://bucket/x", "nonsense://bucket/x: the address cannot be opened"),
        ("memory://nothing", "memory://nothing: the address cannot be opened"),
        ("zip://x::file:///etc/passwd", "zip://x::file:///etc/passwd: the address cannot be opened: BadZipFile"),
        ("tar://a::file:///etc/passwd", "tar://a::file:///etc/passwd: the address cannot be opened: ReadError"),
        ("reference://x", "reference://x: the address cannot be opened"),
        ("data://x", "data://x: the address cannot be opened"),
        ("ftp://127.0.0.1:9/x", "ftp://127.0.0.1:9/x: the address cannot be opened: .*refused"),
        ("file:///nowhere/x", "^/nowhere/x: the file cannot be read: No such file"),
        (".", "holds neither a saved dataset"),
    ],
)
def test_sources_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        guarded_lines(source)


def test_an_unknown_format_is_named(plain: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'alpaca'"):
        guarded_lines(plain, format="alpacca")


def test_written_rows_are_read_again(tmp_path: Path) -> None:
    convs = [conv for _, conv in read_conversations(write_rows(tmp_path / "chat.jsonl", ROWS))]
    write_conversations(convs, tmp_path / "again.jsonl")
    with prepared(Address.parse(tmp_path / "again.jsonl")) as ready:
        assert [conv for _, conv in read_conversations(ready.path)] == convs
