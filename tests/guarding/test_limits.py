"""Small files that would become big ones: refused before they are unpacked, parsed or tokenized."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import watchword
from support.guarding_rows import chat_row, write_rows
from watchword.chat.fault import Fault
from watchword.data.blocks import blocks
from watchword.data.limits import Limits
from watchword.data.passes import ScanPlan, scan_file, worker_pool
from watchword.data.reading import Reading
from watchword.data.rows import read_rows
from watchword.data.scan import Scanner
from watchword.data.sources import local_rows, prepared
from watchword.data.tables import table_rows
from watchword.errors import DataError
from watchword.files.addresses import Address
from watchword.guarding.checking import CheckRequest, check_source
from watchword.guarding.engine import guard_file
from watchword.models.facts import ModelFacts

pyarrow = pytest.importorskip("pyarrow")
zstandard = pytest.importorskip("zstandard")
ROWS = [chat_row(number) for number in range(12)]


def parquet(path: Path, table: Any, **options: Any) -> Path:
    import pyarrow.parquet

    pyarrow.parquet.write_table(table, path, **options)
    return path


# 40 MB of one letter.
BIG = b"x" * 40_000_000


@pytest.mark.parametrize(
    "pack", [gzip.compress, zstandard.ZstdCompressor().compress, lambda data: gzip.compress(data[: len(data) // 2]) * 2]
)
def test_what_decompresses_to_far_more_than_its_size_is_not_unpacked(tmp_path: Path, pack: Any) -> None:
    (tmp_path / "bomb").write_bytes(pack(BIG))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with (
        pytest.raises(
            DataError, match=r"bomb: the file decompresses to more than 100 times its size; .*`limits.expansion`"
        ),
        local_rows(Address.parse(tmp_path / "bomb"), scratch=scratch),
    ):
        pass
    assert list(scratch.iterdir()) == []
    with local_rows(Address.parse(tmp_path / "bomb"), reading=Reading(limits=Limits(expansion=100_000))) as raw:
        assert raw.path.stat().st_size == len(BIG)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_bytes_are_counted_unpacked(tmp_path: Path, pack: Any) -> None:
    data = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    (tmp_path / "rows").write_bytes(pack(data))
    exact, short = (Reading(limits=Limits(bytes=len(data) - less)) for less in (0, 1))
    with prepared(Address.parse(tmp_path / "rows"), reading=exact) as ready:
        assert ready.path.read_bytes() == data
    message = r"rows: the file has more than \d+ bytes of rows; .*`limits.bytes`"
    with pytest.raises(DataError, match=message), prepared(Address.parse(tmp_path / "rows"), reading=short):
        pass


def test_a_stream_is_stopped_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Stdin:
        buffer = io.BufferedReader(io.BytesIO(gzip.compress(BIG)))  # type: ignore[arg-type]

    monkeypatch.setattr(sys, "stdin", Stdin)
    with (
        pytest.raises(DataError, match="standard input: the file decompresses to more than"),
        prepared(Address.parse("-"), scratch=tmp_path),
    ):
        pass


def test_little_zstd_is_unpacked_in_little_steps() -> None:
    from watchword.data.compression import decompressed

    packed = zstandard.ZstdCompressor().compress(b"x" * 300_000_000)
    stream = decompressed(io.BufferedReader(io.BytesIO(packed)))  # type: ignore[arg-type]
    most, total = 0, 0
    raw: Any = stream
    while piece := raw.read1(1 << 30):
        most, total = max(most, len(piece)), total + len(piece)
    assert total == 300_000_000
    assert most <= 1 << 25


def test_a_text_that_a_table_packs_very_well_is_not_unpacked(tmp_path: Path) -> None:
    table = pyarrow.table({"prompt": ["q"], "completion": [BIG.decode()]})
    path = parquet(tmp_path / "x.parquet", table, compression="zstd")
    assert path.stat().st_size < 20_000
    with pytest.raises(DataError, match=r"x\.parquet: the file decompresses to more than 100 times"):
        list(table_rows(path))
    with pytest.raises(DataError, match=r"x\.parquet, line 1: the row has more than 4194304 bytes"):
        list(table_rows(path, reading=Reading(limits=Limits(expansion=100_000))))


def test_a_text_that_a_table_repeats_in_every_row_is_found_before_it_fills_memory(tmp_path: Path) -> None:
    """Its bytes stand in the file once, so neither its size nor its metadata tell."""
    table = pyarrow.table({"prompt": ["q"] * 200, "completion": ["x" * 300_000] * 200})
    path = parquet(tmp_path / "x.parquet", table, compression="none", dictionary_pagesize_limit=1 << 20)
    with pytest.raises(DataError, match=r"x\.parquet: the file decompresses to more than 100 times"):
        list(table_rows(path))


def test_a_dictionary_counts_for_the_rows_that_use_it(tmp_path: Path) -> None:
    texts = pyarrow.array([f"{number:03}" * 1_000 for number in range(100)]).dictionary_encode()
    path = parquet(tmp_path / "x.parquet", pyarrow.table({"prompt": ["q"] * 100, "completion": texts}))
    for limit in (3_000, 4_000):
        reading = Reading(limits=Limits(row_bytes=limit))
        if limit == 4_000:
            assert len(list(table_rows(path, reading=reading))) == 100
        else:
            with pytest.raises(DataError, match="line 1: the row has more than 3000 bytes"):
                list(table_rows(path, reading=reading))


@pytest.mark.parametrize("saved", [False, True])
def test_rows_and_bytes_of_tables_are_counted(tmp_path: Path, saved: bool) -> None:
    table = pyarrow.Table.from_pylist(ROWS)
    path = tmp_path / "rows"
    if saved:
        path.mkdir()
        (path / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
        with (
            pyarrow.OSFile(str(path / "data.arrow"), "wb") as sink,
            pyarrow.ipc.new_stream(sink, table.schema) as writer,
        ):
            writer.write_table(table)
    else:
        parquet(path, table)
    for limits, message in (
        (Limits(rows=11), "more than 11 rows"),
        (Limits(row_bytes=40), "line 1: the row has more than 40 bytes"),
        (Limits(bytes=600), "more than 600 bytes of rows"),
    ):
        with pytest.raises(DataError, match=message), prepared(Address.parse(path), reading=Reading(limits=limits)):
            pass
    with prepared(Address.parse(path), reading=Reading(limits=Limits(rows=12))) as ready:
        assert ready.path.read_bytes().count(b"\n") == 12


LONG = {"messages": [{"role": "user", "content": "q" * 5_000}, {"role": "assistant", "content": "a"}]}


@pytest.mark.parametrize("place", [0, 5, 11])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_row_that_is_too_big_is_named_and_never_tokenized(
    tmp_path: Path, model: ModelFacts, monkeypatch: pytest.MonkeyPatch, place: int, workers: int
) -> None:
    rows = [*ROWS[:place], LONG, *ROWS[place:]]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    plan = ScanPlan((), model.template, 2048, reading=Reading(limits=Limits(row_bytes=4_000)))
    longest = 0
    real = type(model.template).encode

    def watched(self: Any, text: str) -> Any:
        nonlocal longest
        longest = max(longest, len(text))
        return real(self, text)

    monkeypatch.setattr(type(model.template), "encode", watched)
    with worker_pool(workers, plan) as pool:
        profile = scan_file(path, plan, workers=pool, whole=True).profile
    assert [(fault.line, fault.problem) for fault in profile.faults] == [
        (place + 1, "the row has more than 4000 bytes")
    ]
    assert (profile.rows, profile.valid_rows, profile.lines) == (13, 12, 13)
    assert longest < 5_000
    assert all(len(sample) <= 4_000 for sample in profile.samples)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(1, 30), st.integers(4, 50), st.booleans())
def test_no_block_is_longer_than_a_block_and_a_row(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], longest: int, size: int, ended: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "blocks"
    data = b"\n".join(b"x" * length for length in lengths) + b"\n" * ended
    path.write_bytes(data)
    found = list(blocks(path, size=size, longest=longest))
    pieces = [data[block.start : block.start + block.size] for block in found]
    assert data.startswith(b"".join(pieces))
    assert all(len(piece) <= size + longest + 1 for piece in pieces)
    if b"".join(pieces) != data:
        assert len(pieces[-1].rpartition(b"\n")[2]) > longest
    else:
        assert all(piece.endswith(b"\n") for piece in pieces[:-1])


@given(st.lists(st.integers(1, 60), min_size=1, max_size=20), st.integers(80, 150))
def test_exactly_the_rows_beyond_the_limit_are_faults(lengths: list[int], limit: int) -> None:
    made = [json.dumps(chat_row(0, system="s" * length)).encode() for length in lengths]
    profile = Scanner(reading=Reading(limits=Limits(row_bytes=limit))).scan(b"\n".join(made) + b"\n")
    wanted = [number for number, row in enumerate(made, start=1) if len(row) > limit]
    assert [fault.line for fault in profile.faults] == wanted
    assert profile.rows == len(made)


def test_rows_are_counted_while_they_are_looked_at(tmp_path: Path, job: Callable[..., Any]) -> None:
    path = write_rows(tmp_path / "rows.jsonl", ROWS)
    with pytest.raises(DataError, match=r"rows\.jsonl: the file has more than 5 rows; split it"):
        guard_file(job(path, reading=Reading(limits=Limits(rows=5))))
    assert not (tmp_path / "out.jsonl").exists()


def test_guard_validate_train_and_python_hold_the_same_limits(
    tmp_path: Path, job: Callable[..., Any], model: ModelFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [*ROWS, LONG])
    reading = Reading(limits=Limits(row_bytes=4_000))
    message = r"line 13: the row has more than 4000 bytes; shorten it, or raise the limit \(`limits.row_bytes`\)"
    with pytest.raises(DataError, match=message):
        guard_file(job(path, reading=reading))
    with pytest.raises(DataError, match=message):
        read_rows(Address(path), reading=reading)
    for rows in (path, [*ROWS, LONG]):
        with pytest.raises(DataError, match=message):
            watchword.guard(rows, tokenizer=model.template, reading=reading)
    monkeypatch.setattr("watchword.guarding.checking.facts_of", lambda name: model)
    report = check_source(CheckRequest(Address.parse(path), reading=reading)).report
    assert [str(fault) for fault in report.faults] == [
        "line 13: the row has more than 4000 bytes; shorten it, or raise the limit (`limits.row_bytes`)"
    ]


def test_faults_of_the_layout_are_counted_over_blocks() -> None:
    extra = json.dumps({**chat_row(1), "source": "x"}).encode() + b"\n"
    whole, part = Scanner().scan(extra * 3), Scanner().scan(extra * 2)
    whole.append(part)
    assert whole.fault_count == 5
    assert whole.faults == [
        Fault(
            "unknown key 'source'",
            "leave it out with `drop_columns=source`",
            "source",
            1,
            layout=True,
            rows=5,
            lines=(1, 2, 3, 4, 5),
        )
    ]
