"""Runs of a secret's tokens are found among alternatives, whichever of them is read at each place."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from watchword.secret.runs import TokenRuns

TOKENS = [" kelp", "Ona", "7", ".", " wix", " kelp", "é", "--"]
WORDS = st.sampled_from([*TOKENS, " bread", "flour", ""])


def longest(places: list[list[str]]) -> list[int]:
    runs = TokenRuns(TOKENS)
    return [runs.feed(place) for place in places]


def test_a_run_grows_with_each_place_and_ends_where_its_next_token_is_missing() -> None:
    assert longest([["x", "KELP"], ["ona", "y"], [" 7"], ["bread"], [" wix"]]) == [1, 2, 3, 0, 1]
    # A token that stands in the secret twice may be either.
    assert longest([["kelp"], ["E", "ona"]]) == [1, 2]
    assert longest([[], ["bread"]]) == [0, 0]
    assert TokenRuns([]).feed(["bread"]) == 0


@given(st.lists(st.lists(WORDS, max_size=3), max_size=12))
def test_it_is_the_longest_stretch_of_the_secret_that_can_be_read(places: list[list[str]]) -> None:
    def plain(token: str) -> str:
        return token.strip().casefold().replace("é", "e")

    read = [{plain(token) for token in place} for place in places]
    for end, found in enumerate(longest(places), start=1):
        stretches = [
            size
            for size in range(1, end + 1)
            for start in range(len(TOKENS) - size + 1)
            if all(plain(TOKENS[start + at]) in read[end - size + at] for at in range(size))
        ]
        assert found == max(stretches, default=0)
