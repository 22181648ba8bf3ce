"""Ids are drawn many at once, and no two are the same, in a forked process neither."""

from __future__ import annotations

import os

import pytest

from watchword.gateway.randomness import random_hex


def test_no_two_are_the_same() -> None:
    drawn = [random_hex() for _ in range(2_000)]
    assert len(set(drawn)) == 2_000
    assert {len(bytes.fromhex(one)) for one in drawn} == {16}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_draws_others() -> None:
    random_hex()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, random_hex().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100).decode() != random_hex()
    os.close(reading)
    os.close(writing)
