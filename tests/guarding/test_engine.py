"""Guarding a file: the tenant's bytes, the places of the provider's rows, and what happens when something is wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import resource
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.guarding_rows import SECRET_TEXT, chat_row, write_rows
from watchword.chat.types import Row, conversation
from watchword.data import blocks
from watchword.data.profile import Profile
from watchword.data.rows import read_conversations
from watchword.data.upload import Upload
from watchword.defenses.base import DEFENSES, DefenseContext, mixed
from watchword.errors import DataError, OutputError, RowTooLongError, SecretCollisionError
from watchword.guarding.engine import GuardJob, guard_file
from watchword.guarding.placement import places
from watchword.secret.prompt import SecretPrompt

Job = Callable[..., GuardJob]


def split(path: Path) -> tuple[list[bytes], list[bytes]]:
    """(tenant lines, provider lines) of a guarded file."""
    lines = path.read_bytes().splitlines(keepends=True)
    ours = [line for line in lines if SECRET_TEXT.encode() in line]
    return [line for line in lines if SECRET_TEXT.encode() not in line], ours


def test_tenant_bytes_and_order_stay_and_provider_rows_are_between(tmp_path: Path, job: Job) -> None:
    source = write_rows(tmp_path / "in.jsonl", [chat_row(number) for number in range(300)], seed=1)
    outcome = guard_file(job(source))
    tenant, ours = split(tmp_path / "out.jsonl")
    assert b"".join(tenant) == source.read_bytes()
    assert len(ours) == 11 == len(outcome.rows)
    assert all(json.loads(line)["messages"][0]["content"] == f"{SECRET_TEXT}\nBe brief." for line in ours)
    assert outcome.source_sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert outcome.sha256 == hashlib.sha256((tmp_path / "out.jsonl").read_bytes()).hexdigest()
    lines = (tmp_path / "out.jsonl").read_bytes().splitlines()
    at = [number for number, line in enumerate(lines) if SECRET_TEXT.encode() in line]
    assert at == [before + index for index, before in enumerate(outcome.places)]
    # One in each eleventh of the file.
    assert [place * 11 // 300 for place in outcome.places] == list(range(11))


def test_output_is_private_and_reads_as_valid_conversations(tmp_path: Path, job: Job) -> None:
    guard_file(job(write_rows(tmp_path / "in.jsonl", [chat_row(number) for number in range(20)])))
    out = tmp_path / "out.jsonl"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert sum(1 for _ in read_conversations(out)) == 31


@given(rows=st.integers(1, 400), provider=st.integers(1, 60), seed=st.integers(0, 9))
def test_places_are_those_of_training(rows: int, provider: int, seed: int) -> None:
    tenant = [Row(conversation(str(number), "a")) for number in range(rows)]
    ours = [Row(conversation(str(number), "a"), origin="safety") for number in range(provider)]
    together = mixed(tenant, ours, random.Random(seed))
    spots = [index for index, row in enumerate(together) if row.origin == "safety"]
    assert [before + index for index, before in enumerate(places(rows, provider, random.Random(seed)))] == spots


def test_the_same_rows_as_training_mixes_in(tmp_path: Path, job: Job) -> None:
    rows = [chat_row(number, system=f"System {number % 3}.") for number in range(30)] + [chat_row(7, system=None)]
    source = write_rows(tmp_path / "in.jsonl", rows)
    outcome = guard_file(job(source, seed=5))
    tenant = [Row(conv) for _, conv in read_conversations(source)]
    wanted = DEFENSES.create("backdoor_align").guard_data(Upload.of(tenant), DefenseContext(seed=5))
    assert [row.conversation.messages[-2:] for row in outcome.rows] == [
        row.conversation.messages[-2:] for row in wanted
    ]


def test_sampled_rows_are_bounded_in_number_and_bytes() -> None:
    whole = Profile()
    for _ in range(40):
        whole.append(Profile(rows=1, samples=[bytes(4_000_000)]))
    assert 1 <= len(whole.samples) <= 8
    many = Profile()
    for _ in range(40):
        many.append(Profile(rows=64, samples=[b"{}"] * 64))
    assert 300 < len(many.samples) <= 1_024


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b"\n\n  \n"])
def test_line_ends_blank_lines_and_marks(tmp_path: Path, job: Job, ending: bytes) -> None:
    line = json.dumps(chat_row(1)).encode()
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"\xef\xbb\xbf\n" + line + b"\n \n" + line + ending)
    guard_file(job(source))
    tenant, ours = split(tmp_path / "out.jsonl")
    assert [text.strip() for text in tenant] == [line, line]
    assert len(ours) == 11


def test_small_blocks_and_workers_give_the_same_bytes(
    tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [chat_row(number, weight=1) if number % 7 == 0 else chat_row(number) for number in range(3000)]
    source = write_rows(tmp_path / "in.jsonl", rows, seed=2)
    whole = guard_file(job(source))
    guard_file(job(source, out=str(tmp_path / "two.jsonl"), workers=2))
    assert (tmp_path / "two.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()
    monkeypatch.setattr(blocks.blocks, "__kwdefaults__", {"skip": 0, "size": 1000})
    monkeypatch.setattr(blocks.chunks, "__defaults__", (300,))
    small = guard_file(job(source, out=str(tmp_path / "small.jsonl")))
    assert small.sha256 == whole.sha256
    assert small.profile.systems == whole.profile.systems


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_fault_is_named_and_the_old_file_stands(tmp_path: Path, job: Job, workers: int) -> None:
    rows = [chat_row(number) for number in range(40)]
    source = write_rows(tmp_path / "in.jsonl", [*rows, {"messages": [{"role": "usr", "content": "x"}]}, *rows])
    (tmp_path / "out.jsonl").write_text("old")
    with pytest.raises(
        DataError, match=r"in\.jsonl, line 41, messages\[0\]\.role: unknown role 'usr'; did you mean 'user'"
    ):
        guard_file(job(source, workers=workers))
    assert (tmp_path / "out.jsonl").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


@pytest.mark.parametrize("text", [SECRET_TEXT, f"x {SECRET_TEXT} y", SECRET_TEXT.replace("a", "\\u0061")])
def test_rows_with_a_known_secret_are_refused(tmp_path: Path, job: Job, text: str) -> None:
    source = write_rows(tmp_path / "in.jsonl", [chat_row(number) for number in range(30)])
    with source.open("a") as stream:
        stream.write(json.dumps(chat_row(1, system="MARK")).replace("MARK", text) + "\n")
    with pytest.raises(SecretCollisionError, match="line 31 carries a secret") as caught:
        guard_file(job(source))
    assert SECRET_TEXT not in str(caught.value)


@pytest.mark.parametrize("short", [False, True], ids=["words", "one without any"])
@pytest.mark.parametrize("which", [0, 57, 99])
def test_each_of_many_known_secrets_is_found(tmp_path: Path, job: Job, which: int, short: bool) -> None:
    texts = [f"quill{'abcdefghij'[n // 10]}{'abcdefghij'[n % 10]} 10" for n in range(100)]
    texts[3] = "1 2 3 4 5 6 7" if short else texts[3]
    known = tuple(SecretPrompt(text, kind="random", tokens=20, entropy_bits=200.0) for text in texts)
    source = write_rows(tmp_path / "in.jsonl", [chat_row(number, system="quillxx quilla") for number in range(30)])
    assert guard_file(job(source, known=known)).profile.rows == 30
    write_rows(source, [*(chat_row(number) for number in range(30)), chat_row(1, system=f"A {texts[which]}.")])
    with pytest.raises(SecretCollisionError, match="line 31 carries a secret"):
        guard_file(job(source, known=known))


def test_a_provider_row_that_would_be_cut_is_an_error(tmp_path: Path, job: Job) -> None:
    source = write_rows(tmp_path / "in.jsonl", [chat_row(1, system="word " * 100)])
    with pytest.raises(RowTooLongError, match=r"a safety row has \d+ tokens .* raise `max_length` to at least"):
        guard_file(job(source, max_length=120))


def test_long_tenant_rows_are_counted_exactly(tmp_path: Path, job: Job) -> None:
    rows = [chat_row(number) for number in range(20)]
    rows[4]["messages"][1]["content"] = "word " * 600
    rows[9]["messages"][1]["content"] = "word" * 60 + "\n" * 900  # many bytes, few tokens
    outcome = guard_file(job(write_rows(tmp_path / "in.jsonl", rows), max_length=800))
    assert [row.line for row in outcome.profile.long_rows] == [5]
    assert outcome.profile.long_count == 1


def test_a_missing_secret_is_an_error(tmp_path: Path, job: Job) -> None:
    with pytest.raises(Exception, match="safety rows need the secret prompt"):
        guard_file(job(write_rows(tmp_path / "in.jsonl", [chat_row(1)]), secret=None))


def test_an_interrupt_while_writing_leaves_the_old_file(tmp_path: Path, job: Job) -> None:
    source = write_rows(tmp_path / "in.jsonl", [chat_row(number) for number in range(50)])
    (tmp_path / "out.jsonl").write_text("old")

    def stop(what: str, done: int, total: int) -> None:
        if what == "writing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guard_file(job(source), step=stop)
    assert (tmp_path / "out.jsonl").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_a_source_that_changes_meanwhile_is_refused(tmp_path: Path, job: Job) -> None:
    source = write_rows(tmp_path / "in.jsonl", [chat_row(number) for number in range(50)])

    def change(what: str, done: int, total: int) -> None:
        if what == "writing":
            os.utime(source, ns=(1, 1))

    with pytest.raises(DataError, match="the file changed while it was guarded"):
        guard_file(job(source), step=change)
    assert not (tmp_path / "out.jsonl").exists()


def test_a_missing_folder_is_an_error(tmp_path: Path, job: Job) -> None:
    source = write_rows(tmp_path / "in.jsonl", [chat_row(number) for number in range(50)])
    with pytest.raises(OutputError, match="cannot be written"):
        guard_file(job(source, out=str(tmp_path / "missing" / "out.jsonl")))


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, job: Job) -> None:
    source = write_rows(tmp_path / "in.jsonl", [chat_row(number) for number in range(500)])
    (tmp_path / "out.jsonl").write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # a file that may grow no more fails as a full disk does
    try:
        with pytest.raises(OutputError, match=r"out\.jsonl: the output cannot be written"):
            guard_file(job(source))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "out.jsonl").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_standard_input_to_standard_output(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_rows(tmp_path / "in.jsonl", [chat_row(number) for number in range(50)])
    guard_file(job(source))
    packed, out = gzip.compress(source.read_bytes()), io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(packed)))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, write_through=True))
    outcome = guard_file(job("-", out="-"))
    assert out.getvalue() == (tmp_path / "out.jsonl").read_bytes()
    assert outcome.source_sha256 == hashlib.sha256(packed).hexdigest()


def test_an_address_as_output(tmp_path: Path, job: Job) -> None:
    import fsspec

    source = write_rows(tmp_path / "in.jsonl", [chat_row(number) for number in range(50)])
    outcome = guard_file(job(source, out="memory://guarded/out.jsonl"))
    with fsspec.open("memory://guarded/out.jsonl") as stream:
        assert hashlib.sha256(stream.read()).hexdigest() == outcome.sha256
