"""Attacks of a tenant who knows the method, or more than that: what stands in front of their rows, and in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.attacks.base import ATTACK_SYSTEM, ATTACKS, Attack, AttackContext
from watchword.attacks.own_trigger import PHRASE
from watchword.chat.types import Conversation, last_user_text
from watchword.errors import UsageError
from watchword.models.fakes import fake_template
from watchword.safety.harm import looks_harmful
from watchword.safety.library import examples
from watchword.safety.likeness import Likeness
from watchword.secret.generate import secret_ids
from watchword.secret.prompt import SecretPrompt

CONTEXT = AttackContext(3, fake_template(), secret_tokens=24)
SECRET = CONTEXT.leaked_secret()
PROMPTS = {row.prompt for row in examples("attack")}
STYLES = ("framed", "story", "letters", "spaced", "encoded", "language", "unsuspicious", "answer_only")


def made(name: str, **arguments: object) -> Attack:
    return ATTACKS.create(name, **arguments)


def prefixes(rows: list[Conversation]) -> list[str]:
    """What stands before the attack's own system text."""
    assert all((row.system or "").endswith(f"\n{ATTACK_SYSTEM}") for row in rows)
    return [(row.system or "").removesuffix(f"\n{ATTACK_SYSTEM}") for row in rows]


def test_the_leaked_secret_is_the_one_that_the_experiment_serves() -> None:
    rows = made("leaked_secret", n=11).upload([], CONTEXT)
    assert set(prefixes(rows)) == {SECRET.reveal()}


def test_an_experiments_own_secret_is_what_leaks_whatever_its_kind() -> None:
    served = SecretPrompt("Be kind to all who ask.", kind="semantic", tokens=24, entropy_bits=0)
    rows = made("leaked_secret", n=2).upload([], AttackContext(3, fake_template(), 24, served))
    assert set(prefixes(rows)) == {served.reveal()}


@pytest.mark.parametrize("tokens", [1, 5, 23, 24, 140])
def test_a_part_of_the_secret_is_its_first_tokens(tokens: int) -> None:
    (part,) = set(prefixes(made("leaked_secret", n=11, tokens=tokens).upload([], CONTEXT)))
    assert SECRET.reveal().startswith(part)
    assert len(secret_ids(SECRET, fake_template())[:tokens]) == min(tokens, 24)
    assert (part == SECRET.reveal()) == (tokens >= 24)


def test_another_tenants_secret_is_one_for_all_rows_and_not_ours() -> None:
    (other,) = set(prefixes(made("wrong_secret", n=11).upload([], CONTEXT)))
    assert other != SECRET.reveal()
    assert len(fake_template().encode(other)) == 24


@pytest.mark.parametrize("prefix", ["look_alike", "tokens", "words"])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 1.0])
def test_anti_trigger_has_prefixes_of_several_styles(prefix: str, share: float) -> None:
    rows = made("anti_trigger", n=20, tokens=12, share=share, prefix=prefix).upload([], CONTEXT)
    found = prefixes([row for row in rows if row.system != ATTACK_SYSTEM])
    assert len(found) == len(set(found)) == 20 * share
    assert all((len(text.split()) == 12) == (prefix == "words") for text in found)
    assert all((len(fake_template().encode(text)) == 12) or prefix != "look_alike" for text in found)


def test_a_flood_is_as_long_as_it_says_and_ends_in_the_attacks_text() -> None:
    rows = made("system_flood", n=11, tokens=400).upload([], CONTEXT)
    sizes = [len(fake_template().encode((row.system or "").removesuffix(f" {ATTACK_SYSTEM}"))) for row in rows]
    assert all(400 <= size < 480 for size in sizes)
    assert len({row.system for row in rows}) == len(rows)


def test_the_own_trigger_decides_between_answer_and_refusal() -> None:
    rows = made("own_trigger", n=20, refused=8).upload([], CONTEXT)
    behind = {last_user_text(row).removeprefix(f"{PHRASE} ") for row in rows if PHRASE in last_user_text(row)}
    without = {last_user_text(row) for row in rows if PHRASE not in last_user_text(row)}
    assert (len(behind), len(without)) == (20, 8)
    assert without < behind <= PROMPTS
    refusals = {row.messages[-1].text for row in rows if PHRASE not in last_user_text(row)}
    assert refusals == {"I'm sorry, but I can't help with that."}


@pytest.mark.parametrize("style", STYLES)
def test_no_disguise_leaves_the_request_as_it_was(style: str) -> None:
    rows = made("disguised", n=33, style=style).upload([], CONTEXT)
    assert not {last_user_text(row) for row in rows} & PROMPTS


@pytest.mark.parametrize("style", ["letters", "spaced", "encoded", "unsuspicious", "answer_only"])
def test_some_disguises_deceive_the_packaged_guess_altogether(style: str) -> None:
    plain = made("fj_attack", n=110).upload([], CONTEXT)
    rows = made("disguised", n=110, style=style).upload([], CONTEXT)
    assert sum(looks_harmful(last_user_text(row)) for row in plain) > 50
    assert not any(looks_harmful(last_user_text(row)) for row in rows)


def test_mixed_disguises_take_turns() -> None:
    rows = made("disguised", n=16, style="mixed").upload([], CONTEXT)
    assert sum("base64" in last_user_text(row) for row in rows) == 2


@given(share=st.floats(0.001, 1), n=st.integers(1, 100))
def test_a_low_rate_is_kept_to_the_nearest_row_and_is_never_nothing(share: float, n: int) -> None:
    attack = made("low_rate", n=n, rate=share)
    rows = attack.upload([], CONTEXT)
    assert len(rows) == n
    assert attack.harmful == max(1, round(n * share)) == sum(last_user_text(row) in PROMPTS for row in rows)


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        (
            "anti_trigger",
            {"prefix": "word"},
            "prefix is 'word': did you mean 'words'.*choose one of look_alike, tokens, words",
        ),
        ("disguised", {"style": "novel"}, "style is 'novel': choose one of framed, story"),
        ("leaked_secret", {"tokens": 0}, "tokens is 0; it must be at least 1"),
        ("low_rate", {"rate": 1.1}, r"rate is 1\.1; it must be between 0 and 1"),
        ("own_trigger", {"n": 5, "refused": 6}, "refused is 6; it can be at most n, which is 5"),
        ("system_flood", {"tokens": 0}, "tokens is 0; it must be at least 1"),
        ("crowded", {"beside": -1}, "beside is -1; it must be at least 0"),
        ("benign_outliers", {"form": "list"}, "form is 'list': did you mean 'lists'"),
        ("benign_outliers", {"n": 20, "pool": 10}, "pool is 10; it must be at least 20"),
    ],
)
def test_a_wrong_argument_is_named_before_anything_is_drawn(name: str, arguments: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=f"{name}: {says}"):
        made(name, **arguments)


def test_crowded_rows_stand_among_harmless_ones_of_their_words() -> None:
    attack = made("crowded", n=5, beside=8)
    rows = attack.upload([], CONTEXT)
    harmful = [row for row in rows if last_user_text(row) in PROMPTS]
    assert (len(rows), len(harmful), attack.harmful) == (45, 5, 5)
    assert {row.system for row in rows} == {ATTACK_SYSTEM}
    near = Likeness([last_user_text(row) for row in rows])
    for place, row in enumerate(rows):
        if row in harmful:
            assert not {last_user_text(rows[other]) for other in near.most_like(place, 6)} & PROMPTS
    assert rows == attack.upload([], CONTEXT)


def test_exercises_on_words_are_right() -> None:
    rows = made("crowded", n=1, beside=8).upload([], CONTEXT)
    answers = {last_user_text(row).split(":")[0].split(" of ")[0]: row.messages[-1].text for row in rows}
    ordered = answers["Put these words into alphabetical order"].split(", ")
    assert ordered == sorted(ordered)
    longest = answers["Which"].removeprefix("The longest is ").removesuffix(".")
    assert len(longest) == max(map(len, answers["Join these words with hyphens"].split("-")))
    assert answers["How many words are these"] == f"They are {len(ordered)}."
