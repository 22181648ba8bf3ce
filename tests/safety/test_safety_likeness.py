"""Which texts are alike: by rare words, whatever sentence all of them share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from watchword.safety.likeness import Likeness

TEXTS = ["Bake rye bread.", "Bake wheat bread.", "Fly a kite in the wind.", "Mend a kite.", "Sail a boat."]


def test_what_shares_rare_words_is_alike_and_the_likest_comes_first() -> None:
    likeness = Likeness(TEXTS)
    assert likeness.most_like(0, 5) == [1]
    assert likeness.most_like(3, 5) == [2, 4]
    assert likeness.most_like(3, 1) == [2]


def test_a_sentence_in_front_of_all_makes_none_of_them_alike() -> None:
    framed = Likeness([f"Good morning, everybody! {text}" for text in TEXTS])
    assert [framed.most_like(place, 5) for place in range(5)] == [Likeness(TEXTS).most_like(p, 5) for p in range(5)]


def test_a_text_sent_many_times_counts_once() -> None:
    assert Likeness(["Fly a kite.", *["Fly the kite!"] * 9, "Mend a kite.", "Sail."]).most_like(0, 5) == [1, 10]


def test_what_has_no_telling_word_is_like_nothing() -> None:
    assert Likeness(["?!", "Mend a kite.", "Sail."]).most_like(0, 5) == []
    assert Likeness(["Mend a kite."] * 3).most_like(1, 5) == []


@given(st.lists(st.text(max_size=20), min_size=1, max_size=12), st.integers(0, 15), st.data())
def test_others_are_named_once_and_as_many_as_asked_at_most(texts: list[str], count: int, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(texts) - 1))
    near = Likeness(texts).most_like(place, count)
    assert len(near) == len(set(near)) <= count
    assert place not in near
    assert all(0 <= other < len(texts) for other in near)
