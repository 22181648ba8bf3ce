"""Forms that come in any pieces: the file goes on byte for byte, and whatever is no form is refused."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from watchword.errors import CallError
from watchword.service.api.receiving import ReceivedForm, receive_form

BOUNDARY = b"watchword-boundary"


class Kept:
    """Keeps what is written, and how large the largest piece was."""

    def __init__(self) -> None:
        self.data, self.largest = bytearray(), 0

    def write(self, data: bytes, /) -> None:
        self.data += data
        self.largest = max(self.largest, len(data))


def form(*parts: tuple[str, bytes], end: bytes = b"--\r\n") -> bytes:
    """A body with these parts; the first of each is what stands behind ``form-data``."""
    pieces = [
        b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data" + named.encode() + b"\r\n\r\n" + data + b"\r\n"
        for named, data in parts
    ]
    return b"".join(pieces) + b"--" + BOUNDARY + end


def received(body: bytes, cuts: list[int] | None = None, *, most: int = 1 << 20) -> tuple[ReceivedForm, Kept]:
    """What is made of a body that arrives in pieces."""
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts or []), len(body)]
    chunks = [body[a:b] for a, b in itertools.pairwise(places)]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    headers = [(b"content-type", b"multipart/form-data; boundary=" + BOUNDARY)]
    kept = Kept()
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)
    return asyncio.run(receive_form(request, kept, file_field="file", max_bytes=most)), kept


FILE = '; name="file"; filename="rows.jsonl"'


@settings(max_examples=60)
@given(st.binary(max_size=3000), st.lists(st.integers(0, 10_000), max_size=12))
def test_a_file_arrives_whole_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    found, kept = received(form(('; name="purpose"', b"fine-tune"), (FILE, data)), cuts)
    assert bytes(kept.data) == data
    assert (found.fields, found.filename, found.size) == ({"purpose": "fine-tune"}, "rows.jsonl", len(data))


@settings(max_examples=60)
@given(st.binary(max_size=400))
def test_whatever_comes_is_a_form_or_refused(body: bytes) -> None:
    with pytest.raises(CallError):
        received(body)


def test_a_large_file_is_never_in_one_piece() -> None:
    _, kept = received(form((FILE, b"x" * (5 << 20))), list(range(0, 5 << 20, 60_000)), most=8 << 20)
    assert kept.largest < 2 << 20


def test_a_file_that_is_too_large_is_refused_on_the_way() -> None:
    with pytest.raises(CallError) as refused:
        received(form((FILE, b"x" * 2001)), most=2000)
    assert refused.value.openai_code == "request_too_large"


def test_a_form_that_was_cut_off_is_refused() -> None:
    whole = form((FILE, b"rows"))
    for cut in range(len(whole) - 4):
        with pytest.raises(CallError):
            received(whole[:cut])


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\\\rows\\\\a.jsonl", "a.jsonl"),
        ("a\x07b.jsonl", "ab.jsonl"),
        ("x" * 300, "x" * 255),
        ("/", "file"),
    ],
)
def test_a_file_name_is_a_name_alone(name: str, kept: str) -> None:
    assert received(form((f'; name="file"; filename="{name}"', b"x")))[0].filename == kept


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [('; name="purpose"', b"fine-tune")],
        [(FILE, b"a"), (FILE, b"b")],
        [('; name="purpose"', b"a"), ('; name="purpose"', b"b"), (FILE, b"")],
        [('; name="other"; filename="x"', b"a"), (FILE, b"")],
        [('; name="purpose"', b"x" * 20_000), (FILE, b"")],
        [(f'; name="f{n}"', b"") for n in range(40)],
        [("", b"no name")],
    ],
    ids=["nothing", "no file", "two files", "twice", "another file", "a long field", "many fields", "no name"],
)
def test_other_forms_are_refused(parts: list[tuple[str, bytes]]) -> None:
    with pytest.raises(CallError):
        received(form(*parts))
