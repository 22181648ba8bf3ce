"""Digests of what is written, counted here or in a thread beside the writing."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.files.digest import HashingWriter

LONG = 1 << 16


@pytest.mark.parametrize("threads", [0, 1, 4])
@given(sizes=st.lists(st.sampled_from([0, 1, 7, LONG - 1, LONG, LONG + 1, 3 * LONG]), max_size=12))
def test_the_digest_is_of_the_bytes_in_their_order(threads: int, sizes: list[int]) -> None:
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
    inner = io.BytesIO()
    with ThreadPoolExecutor(threads or 1) as pool:
        writer = HashingWriter(inner, pool if threads else None)
        for piece in pieces:
            assert writer.write(piece) == len(piece)
        assert writer.hexdigest() == hashlib.sha256(b"".join(pieces)).hexdigest()
    assert inner.getvalue() == b"".join(pieces)
    assert writer.size == sum(sizes)


def test_a_buffer_that_is_used_again_is_hashed_as_it_was() -> None:
    buffer = bytearray(b"a" * 2 * LONG)
    with ThreadPoolExecutor(1) as pool:
        writer = HashingWriter(io.BytesIO(), pool)
        writer.write(memoryview(buffer))
        buffer[:] = b"b" * len(buffer)
        assert writer.hexdigest() == hashlib.sha256(b"a" * 2 * LONG).hexdigest()
