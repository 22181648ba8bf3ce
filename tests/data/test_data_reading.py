"""What is left out by request, and how much is read at most."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.chat.types import Conversation, conversation
from watchword.data.limits import Limits
from watchword.data.prepared import place_in_file
from watchword.data.reading import Reading
from watchword.data.remarks import Remarks
from watchword.data.rows import read_conversations
from watchword.data.validate import validate
from watchword.errors import DataError
from watchword.files.addresses import Address

TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
ULTRACHAT = {"prompt": "q", "prompt_id": "ab12", "messages": TURNS}


def lines(*rows: Any) -> io.BytesIO:
    return io.BytesIO("".join(json.dumps(row) + "\n" for row in rows).encode())


def read(stream: io.BytesIO, reading: Reading) -> tuple[list[Conversation], list[str]]:
    remarks = Remarks()
    return [conv for _, conv in read_conversations(stream, reading=reading, remarks=remarks)], remarks.texts()


def test_columns_too_many_are_one_fault_a_file_that_names_the_option(tmp_path: Path) -> None:
    path = tmp_path / "up.jsonl"
    path.write_bytes(lines(*[ULTRACHAT] * 12).getvalue())
    report = validate(Address.parse(path))
    assert [str(fault) for fault in report.faults] == [
        "line 1: unknown keys 'prompt', 'prompt_id'; leave them out with `drop_columns=prompt,prompt_id` "
        "(the same in 12 rows: lines 1, 2, 3, 4, 5, …)"
    ]
    assert (report.rows, report.valid_rows, report.fault_count) == (12, 0, 12)


@pytest.mark.parametrize("reading", [Reading(drop_columns=("prompt", "prompt_id", "absent")), Reading(drop_extra=True)])
def test_columns_are_left_out_by_request_named_and_counted(reading: Reading, tmp_path: Path) -> None:
    rows, texts = read(lines(*[ULTRACHAT] * 3), reading)
    assert rows == [conversation("q", "a")] * 3
    assert texts == [
        f"the column '{name}' was left out, as asked (3 rows: line 1, line 2, line 3)"
        for name in ("prompt", "prompt_id")
    ]
    path = tmp_path / "up.jsonl"
    path.write_bytes(lines(*[ULTRACHAT] * 10).getvalue())
    report = validate(Address.parse(path), reading=reading)
    assert report.ok
    assert [text.partition(" (")[0] for text in report.warnings] == [
        "the column 'prompt' was left out, as asked",
        "the column 'prompt_id' was left out, as asked",
    ]


def test_a_column_may_be_left_out_so_that_another_is_read() -> None:
    row = {"instruction": "x", "output": "y", "messages": TURNS, "chosen": TURNS, "rejected": TURNS}
    with pytest.raises(DataError, match="preference pair"):
        read(lines(row), Reading(drop_extra=True))
    reading = Reading(drop_columns=("messages", "chosen", "rejected"))
    assert read(lines(row), reading)[0] == [conversation("x", "y")]


def test_keys_of_turns_are_left_out_by_their_dotted_name_only() -> None:
    row = {"conversations": [{"from": "human", "value": "q", "time": 1}, {"from": "gpt", "value": "a", "mask": True}]}
    with pytest.raises(DataError, match=r"conversations\[0\].time: unknown key 'time'"):
        read(lines(row), Reading(drop_extra=True))
    rows, texts = read(
        lines(row), Reading(drop_columns=("conversations.time", "conversations.mask", "conversations.x"))
    )
    assert rows == [conversation("q", "a")]
    assert len(texts) == 2


def test_thoughts_are_kept_unless_they_are_not_wanted() -> None:
    row = {"messages": [TURNS[0], {**TURNS[1], "thinking": "hm"}]}
    assert read(lines(row), Reading())[0][0].messages[1].reasoning_content == "hm"
    rows, texts = read(lines(row, {"messages": TURNS}), Reading(drop_thoughts=True))
    assert rows == [conversation("q", "a")] * 2
    assert texts == ["the thoughts (reasoning_content) were left out, as asked (1 row: line 1)"]


ROW = json.dumps({"messages": TURNS}).encode()


@pytest.mark.parametrize(
    ("data", "limits", "message"),
    [
        (
            ROW + b"\n",
            Limits(row_bytes=len(ROW) - 1),
            f"line 1: the row has more than {len(ROW) - 1} bytes; .*`limits.row_bytes`",
        ),
        (ROW + b"\n\n" + ROW + b" " * 9, Limits(row_bytes=len(ROW)), "line 3: the row has more"),
        (b"[" + ROW + b",\n" + ROW + b" ]", Limits(row_bytes=len(ROW) - 1), "line 1: the row has more"),
        (
            ROW + b"\n" + ROW,
            Limits(bytes=2 * len(ROW)),
            f"the file has more than {2 * len(ROW)} bytes of rows; .*`limits.bytes`",
        ),
        (b"[" + ROW + b",\n" + ROW + b"]", Limits(bytes=2 * len(ROW)), "bytes of rows"),
        (ROW + b"\n" + ROW, Limits(rows=1), "the file has more than 1 rows; .*`limits.rows`"),
        (b"[" + ROW + b"," + ROW + b"]", Limits(rows=1), "more than 1 rows"),
        (b'{"messages": ' + b"x" * 100, Limits(row_bytes=50), "line 1: the row has more than 50 bytes"),
        (b"\n\n" + b"x" * 100, Limits(row_bytes=50), "line 3: the row has more than 50 bytes"),
    ],
)
def test_limits_stop_the_reading(data: bytes, limits: Limits, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(io.BytesIO(data), Reading(limits=limits))
    path = tmp_path / "up.jsonl"
    path.write_bytes(data)
    if "bytes of rows" in message:
        with pytest.raises(DataError, match=message):
            validate(Address.parse(path), reading=Reading(limits=limits))
        return
    report = validate(Address.parse(path), reading=Reading(limits=limits))
    assert not report.ok
    assert re.search(message, str(report.faults[-1]))


@given(
    st.lists(st.sampled_from([ROW, ROW + b"  ", b"", b"  "]), min_size=1, max_size=5), st.booleans(), st.integers(-1, 2)
)
def test_what_is_within_the_limits_is_read_whole(rows: list[bytes], array: bool, spare: int) -> None:
    """An array's row is as long as its text, a line's as long as the line; both may be just as long as the limit."""
    full = [row for row in rows if row.strip()]
    data = b"[" + b",\n".join(full) + b"]" if array else b"\n".join(rows)
    longest = max((len(row.strip() if array else row) for row in full), default=0)
    limits = Limits(row_bytes=max(1, longest + min(spare, 0)), rows=max(1, len(full)), bytes=max(1, len(data)))
    stream = io.BytesIO(data)
    if spare < 0 and full:
        with pytest.raises(DataError, match="the row has more than"):
            read(stream, Reading(limits=limits))
    elif full:
        assert len(read(stream, Reading(limits=limits))[0]) == len(full)


def test_a_stream_without_an_end_of_line_is_not_read_into_memory() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            self.given += len(buffer)
            assert self.given < 1 << 20
            buffer[:] = b"x" * len(buffer)
            return len(buffer)

    with pytest.raises(DataError, match="the row has more than 1000 bytes"):
        list(
            read_conversations(
                io.BufferedReader(Endless()), format="openai", reading=Reading(limits=Limits(row_bytes=1000))
            )
        )


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ('prompt,completion\n"q","a"\n', "x.csv"),
        ('"prompt";"completion"\nq;a\n', "x"),
        ("prompt\tcompletion\nq\ta\n", "rows.txt"),
        ("text\nq\n", "x.tsv"),
    ],
)
def test_a_csv_file_is_called_one(head: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(head)
    report = validate(Address.parse(tmp_path / name))
    assert [fault.problem.partition(";")[0] for fault in report.faults] == [
        "the file is a table in CSV, which is not supported"
    ]


@pytest.mark.parametrize(
    ("start", "what"), [(b"\x1f\x8b\x08", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"PAR1", "Parquet")]
)
def test_packed_files_are_called_so_where_plain_lines_are_read(start: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(start + bytes(40))
    with (
        pytest.raises(DataError, match=f"the file is .*{what}.*; unpack it first"),
        (tmp_path / "x").open("rb") as stream,
    ):
        list(read_conversations(stream))


def test_a_field_is_found_again_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "up.jsonl"
    row = {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "extra": 1}
    path.write_bytes(b"\n" + lines(row, {**row, "system": "s"}).getvalue())
    reading = Reading(drop_columns=("extra",))
    assert place_in_file(path, 1, "messages[1].content", reading=reading) == (2, "conversations[1].value")
    assert place_in_file(path, 2, "messages[1].content", reading=reading) == (3, "conversations[0].value")
    assert place_in_file(path, 3, "messages[1].content") == (3, "messages[1].content")
    assert place_in_file(tmp_path / "gone", 1, "tools") == (1, "tools")
