"""Row origins are names: known ones come first and have headings, others are called as they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from watchword.chat.origins import RowOrigin, count_origins, described, in_order

ORIGINS = (RowOrigin("safety", "safety examples"), RowOrigin("anchor", "anchors"))


def test_counts_are_told_in_the_origins_own_order() -> None:
    assert described({"pledge": 3, "anchor": 2, "safety": 1}, ORIGINS) == "1 safety examples, 2 anchors, 3 pledge"
    assert described({}, ORIGINS) == ""


@given(st.lists(st.text(min_size=1, max_size=5)))
def test_every_origin_is_counted_and_told_once(names: list[str]) -> None:
    counts = count_origins(names)
    assert sum(counts.values()) == len(names)
    assert set(in_order(counts, ORIGINS)) == set(names)
