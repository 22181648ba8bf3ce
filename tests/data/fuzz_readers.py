"""Fuzzes the readers with atheris (coverage-guided): ``python tests/data/fuzz_readers.py -max_total_time=600``.

Whatever bytes come in, reading ends with rows or with one of our errors that names the place, never with a traceback; rows
that the quick look takes are rows that the careful parser takes; and guarded tenant lines are the tenant's own.
"""

from __future__ import annotations

import io
import os
import random
import sys
import tempfile
from pathlib import Path

import atheris
import pyarrow
import pyarrow.parquet

with atheris.instrument_imports(include=["watchword"]):
    from watchword.data.fast import plain_rows
    from watchword.data.parse import parse_row
    from watchword.data.passes import ScanPlan, scan_file
    from watchword.data.sources import prepared
    from watchword.errors import DataError
    from watchword.files.addresses import Address
    from watchword.guarding.interleave import interleaved
    from watchword.guarding.placement import places

FOLDER = Path(tempfile.mkdtemp(prefix="watchword-fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))  # noqa: PTH112


# How an Arrow stream begins, which is what a dataset's folder holds.
ARROW = b"\xff\xff\xff\xff"
TABLE = pyarrow.Table.from_pylist([{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": "d"}])
TURNS = pyarrow.Table.from_pylist([{"messages": [{"role": role, "content": "a"} for role in ("user", "assistant")]}])


def parquet_of(table: pyarrow.Table) -> bytes:
    """A small Parquet file, uncompressed so that mutations reach its texts."""
    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out, compression="none")
    return out.getvalue()


def stream_of(table: pyarrow.Table) -> bytes:
    """The file of a saved dataset."""
    out = io.BytesIO()
    with pyarrow.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


SEEDS = (
    b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 1}]}\n',
    b'[{"messages": [{"role": "user", "content": "a"}]}]',
    b'{"instruction": "a", "input": "", "output": "b", "history": [["c", "d"]]}\n',
    b'{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}\n',
    b'{"prompt": "a", "completion": "b"}\n',
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    b"\x28\xb5\x2f\xfd\x04\x00",
    *(write(table) for write in (parquet_of, stream_of) for table in (TABLE, TURNS)),
)


def put(data: bytes) -> Path:
    """The tenant's file, or a dataset's folder where the bytes are an Arrow stream."""
    if not data.startswith(ARROW):
        (FOLDER / "in").write_bytes(data)
        return FOLDER / "in"
    folder = FOLDER / "dataset"
    folder.mkdir(exist_ok=True)
    (folder / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    (folder / "data.arrow").write_bytes(data)
    return folder


def one(data: bytes) -> None:
    """One file of a tenant."""
    source = put(data)
    quick(data)
    try:
        with prepared(Address(source), scratch=FOLDER) as ready:
            scanned = scan_file(ready.path, ScanPlan(first_line=ready.first_line), skip=ready.skip)
            if scanned.profile.fault_count:
                assert all(fault.line for fault in scanned.profile.faults)
                return
            own = b"".join(
                piece for piece in interleaved(ready.path, scanned.blocks, [], []) if isinstance(piece, bytes)
            )
            lines = [line for line in ready.path.read_bytes()[ready.skip :].split(b"\n") if line.strip()]
            assert own.split(b"\n")[:-1] == lines
            assert scanned.profile.rows == len(lines)
            assert all(0 <= place <= len(lines) for place in places(len(lines), 3, random.Random(0)))
    except DataError as error:
        assert str(error)


def quick(data: bytes) -> None:
    """The quick look against the careful one."""
    whole = data if data.endswith(b"\n") else data + b"\n"
    rows = plain_rows(whole)
    if rows is not None:
        for turns, line in zip(rows, whole.split(b"\n")[:-1], strict=True):
            conv, faults = parse_row(line, 1, "openai")
            assert conv is not None
            assert not faults
            assert [turn.content for turn in turns] == [message.content for message in conv.messages]


if __name__ == "__main__":
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(SEEDS):
        (corpus / str(number)).write_bytes(seed)
    atheris.Setup([*sys.argv, f"-artifact_prefix={FOLDER}/", str(corpus)], one)
    atheris.Fuzz()
