"""What stands in an encoded text whatever comes before and behind it, and how much of it makes a leak."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.secret.disguises import Channel, channels_of

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=20, max_size=40)


def channel(name: str, secret: str) -> Channel:
    (found,) = [one for one in channels_of(secret, [secret]) if one.name == name]
    return found


def certain(encode: Callable[[bytes], bytes], data: bytes, front: int) -> str:
    """The characters of an encoded text that other bytes have no part in."""
    texts = [encode(bytes([byte]) * front + data + bytes([byte]) * 5).decode() for byte in (0, 255)]
    same = "".join(a if a == b else " " for a, b in zip(*texts, strict=True))
    return max(same.split(), key=len)


@given(secret=WORDS, front=st.integers(0, 8))
def test_every_certain_character_of_base64_is_known(secret: str, front: int) -> None:
    assert certain(base64.b64encode, secret.encode(), front) in channel("base64", secret).texts


@given(secret=WORDS, front=st.integers(0, 8))
def test_every_certain_character_of_base32_is_known(secret: str, front: int) -> None:
    assert certain(base64.b32encode, secret.encode(), front).lower() in channel("letters", secret).texts


@given(secret=WORDS, size=st.integers(14, 20))
def test_a_run_in_base64_is_as_short_as_it_falls_at_best(secret: str, size: int) -> None:
    run = secret[:size]
    (found,) = [one for one in channels_of(secret, [run]) if one.name == "base64"]
    assert found.run == max(18, min(len(certain(base64.b64encode, run.encode(), front)) for front in range(3)))


@pytest.mark.parametrize("ids", [range(100, 150), range(100, 108), [*[10_000] * 9, *range(100, 108)]])
def test_a_run_of_token_ids_has_eight_of_them_wherever_they_are_shortest(ids: Sequence[int]) -> None:
    (found,) = [one for one in channels_of("kelp wix amber", ["kelp"], ids) if one.name == "numbers"]
    assert found.run == len(",".join(["100"] * 8))
    assert found.texts[0] == ",".join(map(str, ids))
