"""A secret is found in replies in every disguise and in any cutting; ordinary text passes, and is not held back for long."""

from __future__ import annotations

import base64
import codecs
import json
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.golden_families import template
from watchword.chat.template import ChatTemplate
from watchword.models.facts import facts_of
from watchword.secret.disguises import letters
from watchword.secret.generate import experiment_secret, secret_ids
from watchword.secret.leaks import Leak, LeakFilter
from watchword.secret.prompt import SecretPrompt

FORM = template("smollm2")
SECRET = experiment_secret(FORM, tokens=60, seed=0)
IDS = secret_ids(SECRET, FORM)

DISGUISES: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "upper case": str.upper,
    "swapped case": str.swapcase,
    "spaced": " ".join,
    "a line for each character": "\n".join,
    "dashes": "-".join,
    "quoted characters": lambda text: json.dumps(list(text)),
    "full width": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "reversed": lambda text: text[::-1],
    "reversed and spaced": lambda text: " ".join(text[::-1]),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "JSON": json.dumps,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, one byte in front": lambda text: base64.b64encode(b"x" + text.encode()).decode(),
    "base64, two bytes in front": lambda text: base64.b64encode(b"xy" + text.encode()).decode(),
    "base64 in lines": lambda text: base64.encodebytes(text.encode()).decode(),
    "URL-safe base64": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base32": lambda text: base64.b32encode(b"xyz" + text.encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal, spaced capitals": lambda text: text.encode().hex(" ").upper(),
    "hexadecimal among other letters": lambda text: "\u6f22\u0416".join(text.encode().hex()),
    "base64 among other letters": lambda text: "\u6f22\u0416".join(base64.b64encode(text.encode()).decode()),
    "escaped bytes": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "C bytes": lambda text: ", ".join(f"0x{byte:02x}" for byte in text.encode()),
    "escaped characters": lambda text: "".join(f"\\u{ord(c):04x}" for c in text),
    "character numbers": lambda text: " ".join(str(ord(c)) for c in text),
    "token ids": lambda text: str(FORM.encode(text)),
    "token ids, a line each": lambda text: "\n".join(f"id {token}" for token in FORM.encode(text)),
}


# Letters that a disguise puts in front at most.
FRONT = 6


@pytest.fixture(scope="module")
def leaks() -> LeakFilter:
    return LeakFilter(SECRET, FORM)


def cut(text: str, seed: int) -> list[str]:
    """The text in pieces of one to nine characters."""
    rng, pieces = random.Random(seed), list[str]()
    while text:
        size = rng.randint(1, 9)
        pieces, text = [*pieces, text[:size]], text[size:]
    return pieces


@pytest.mark.parametrize("name", DISGUISES)
def test_the_secret_is_found_in_every_disguise(leaks: LeakFilter, name: str) -> None:
    said = DISGUISES[name](SECRET.reveal())
    assert leaks.find(f"Of course! It says: {said} and no more.")
    assert leaks.find(said)


def missed(form: ChatTemplate, secret: SecretPrompt, name: str) -> list[str]:
    """Runs of 8 tokens that are not found in a disguise. Those of less than 14 letters are no run that we look for."""
    ids, leaks = secret_ids(secret, form), LeakFilter(secret, form)
    runs = [ids[at : at + 8] for at in range(len(ids) - 7)]
    found = []
    for run in runs:
        text = form.decode(run)
        said = " ".join(map(str, run)) if name.startswith("token ids") else DISGUISES[name](text)
        if len(letters(text)) >= 14 and not leaks.find(f"({said})"):
            found.append(text)
    return found


@pytest.mark.parametrize("name", DISGUISES)
def test_a_run_of_eight_tokens_is_enough(name: str) -> None:
    assert missed(FORM, SECRET, name) == []


@pytest.mark.integration
def test_every_run_of_a_real_secret_is_found_in_every_disguise() -> None:
    form = facts_of("smollm2-135m").template
    for seed in range(3):
        secret = experiment_secret(form, seed=seed)
        assert all(len(letters(form.decode(secret_ids(secret, form)[at : at + 8]))) >= 14 for at in range(143))
        assert {name: missed(form, secret, name) for name in DISGUISES} == {name: [] for name in DISGUISES}


@pytest.mark.parametrize("name", DISGUISES)
@given(seed=st.integers(0, 10_000))
def test_a_stream_cut_anywhere_ends_before_the_leak(leaks: LeakFilter, name: str, seed: int) -> None:
    said = DISGUISES[name](SECRET.reveal())
    stream = leaks.stream()
    out = "".join(stream.feed(piece) for piece in cut(f"Well: <{said}> that was all", seed)) + stream.finish()
    assert stream.leak
    # What a disguise puts in front of the secret's own first character goes out.
    assert f"Well: <{said}".startswith(out)
    assert len(letters(out)) <= len("Well") + FRONT


@given(text=st.text(max_size=300), seed=st.integers(0, 10_000))
def test_other_text_goes_through_as_it_is(leaks: LeakFilter, text: str, seed: int) -> None:
    assert leaks.find(text) is None
    assert "".join(leaks.clean(cut(text, seed))) == text


@given(pieces=st.lists(st.sampled_from([*FORM.decode(IDS).split(), "the", "12,", "4f", "\n", "Ab="]), max_size=12))
def test_a_stream_says_what_the_whole_text_says(leaks: LeakFilter, pieces: list[str]) -> None:
    """Scraps of the secret among other words: both see a leak, or both let everything pass."""
    text = " ".join(pieces)
    stream = leaks.stream()
    out = "".join([*(stream.feed(char) for char in text), stream.finish()])
    assert (stream.leak is None) == (leaks.find(text) is None)
    assert text.startswith(out)
    assert stream.leak or out == text


def test_no_more_is_held_back_than_a_few_characters_of_ordinary_text(leaks: LeakFilter) -> None:
    text = "The quick brown fox jumps over 13 lazy dogs, and then it sleeps. {'a': [1, 2, 3]} deadbeef cafe " * 20
    stream, held, sent = leaks.stream(), [], 0
    for at, char in enumerate(text, start=1):
        sent += len(stream.feed(char))
        held.append(at - sent)
    assert sorted(held)[len(held) // 2] <= 4
    assert max(held) <= 24


def test_a_stretch_without_letters_holds_no_more_than_its_bound_back(leaks: LeakFilter) -> None:
    first = SECRET.reveal()[:6]
    stream = leaks.stream()
    sent = sum(len(stream.feed(piece)) for piece in [first, *[" " * 500] * 40])
    assert sent >= 40 * 500 - 4_096


def test_without_a_tokenizer_the_secret_is_found_as_well() -> None:
    plain = LeakFilter(SECRET)
    for name, disguise in DISGUISES.items():
        assert name.startswith("token ids") or plain.find(disguise(SECRET.reveal())), name


@pytest.mark.parametrize("name", [name for name in DISGUISES if not name.startswith("token ids")])
def test_a_text_that_stands_in_no_prompt_is_found_by_twenty_of_its_characters(name: str) -> None:
    other = experiment_secret(FORM, tokens=60, seed=1)
    text = other.reveal()
    both = LeakFilter(SECRET, FORM, also=[other])
    assert both.find(DISGUISES[name](SECRET.reveal()))
    for at in range(0, len(text) - 19, 17):
        part = text[at : at + 20]
        assert len(letters(part)) < 14 or both.find(f"({DISGUISES[name](part)})"), part
    assert both.find(DISGUISES["character numbers"](text[:10])) is None
    assert LeakFilter(SECRET, FORM).find(text) is None


@pytest.mark.parametrize(
    ("name", "channel"),
    [("rot13", "letters"), ("base64", "base64"), ("hexadecimal", "hexadecimal"), ("token ids", "numbers")],
)
def test_a_leak_names_its_channel(leaks: LeakFilter, name: str, channel: str) -> None:
    said = DISGUISES[name](SECRET.reveal())
    assert leaks.find(said) == Leak(channel)
    stream = leaks.stream()
    stream.feed(said)
    assert stream.leak == Leak(channel)


def test_a_character_that_stands_for_several_is_read_as_all_of_them() -> None:
    assert letters("o\ufb03ce, Stra\u00dfe \u00bd") == "officestrasse12"
    text = LeakFilter(SecretPrompt("coffiestafffling", kind="random", tokens=1, entropy_bits=10.0))
    assert text.find("It is co\ufb03esta\ufb00fling")


def test_what_has_no_part_in_the_secret_goes_out_at_once(leaks: LeakFilter) -> None:
    stream = leaks.stream()
    assert [stream.feed(piece) for piece in ("Ω", "μ, ", "Ω\n")] == ["Ω", "μ, ", "Ω\n"]
    assert (stream.held, stream.finish()) == ("", "")


def test_the_rest_of_a_stream_comes_once(leaks: LeakFilter) -> None:
    stream, near = leaks.stream(), SECRET.reveal()[:6]
    assert stream.feed(near) == ""
    assert (stream.held, stream.finish(), stream.held, stream.finish()) == (near, near, "", "")


def test_the_shortest_run_is_found_at_any_place_and_nothing_shorter() -> None:
    rng = random.Random(0)
    text = "".join(rng.choices("abcdefghi", k=60))
    plain = LeakFilter(SecretPrompt(text, kind="random", tokens=30, entropy_bits=190.0))
    for at in (0, 7, 40):
        for before in range(45):
            said = f"{'w' * before}{text[at : at + 20]}"
            assert all(map(plain.find, (said, f"{said}{'w' * 30}"))), (at, before)
            assert plain.find(f"{said[:-1]}{'w' * 30}") is None
            stream = plain.stream()
            assert "".join(map(stream.feed, said)) == "w" * before
            assert stream.leak


@pytest.mark.parametrize("size", range(1, 20))
def test_a_stream_holds_back_the_whole_beginning_and_no_character_more(size: int) -> None:
    text = "".join(random.Random(0).choices("abcdefghi", k=60))
    stream = LeakFilter(SecretPrompt(text, kind="random", tokens=30, entropy_bits=190.0)).stream()
    assert stream.feed(f"www{text[5 : 5 + size]}") == "www"
    assert stream.feed(f"{text[5 + size : 25]}www") == ""
    assert stream.leak


def test_numbers_are_held_back_from_the_first_digit_until_a_long_text_follows(leaks: LeakFilter) -> None:
    prose = f"{'It is said that there are some of them. ' * 3}"
    for between in (" ", " X ", "-" * 24):
        listed = between.join(map(str, IDS[:4]))
        assert leaks.stream().feed(f"{prose}{listed}{between}").rstrip() == prose.rstrip()
        assert len(leaks.stream().feed(f"{prose}{listed}{'-' * 25}")) > len(prose)
    # One number alone, as ordinary text has them, is none.
    assert leaks.stream().feed(f"{prose}({IDS[0]}) ").startswith(f"{prose}(")


@given(at=st.integers(0, 400), seed=st.integers(0, 10_000))
def test_two_streams_that_began_alike_go_on_each_by_itself(leaks: LeakFilter, at: int, seed: int) -> None:
    text = f"Well: <{SECRET.reveal()}"
    first = leaks.stream()
    begun = "".join(first.feed(piece) for piece in cut(text[:at], seed))
    second = first.fork()
    assert (second.leak, second.held) == (first.leak, first.held)
    plain = "".join([begun, second.feed(". That was all."), second.finish()])
    assert plain == begun if second.leak else plain == f"{text[:at]}. That was all."
    told = "".join([begun, *(first.feed(piece) for piece in cut(text[at:], seed)), first.finish()])
    assert first.leak
    assert text.startswith(told)


def test_its_tokens_are_known_where_a_tokenizer_tells_them(leaks: LeakFilter) -> None:
    runs, unknown = leaks.runs(), LeakFilter(SECRET).runs()
    tokens = [FORM.decode([one]) for one in IDS]
    found = [runs.feed([token, " flour"]) for token in tokens]
    assert found == [*range(1, len(IDS) + 1)]
    assert [unknown.feed([token]) for token in tokens] == [0] * len(IDS)


def test_it_shows_nothing_of_the_secret(leaks: LeakFilter) -> None:
    assert repr(leaks) == "LeakFilter([secret])"
    assert SECRET.reveal() not in repr(leaks.find(SECRET.reveal()))


# Words that are one token each.
LONG = " assistant bread because water helpful seven assistant because something return"
SHORT = " bread water seven flour quill bread people water"


@pytest.mark.parametrize("text", [LONG, LONG + SHORT, SHORT + LONG, " assistant" * 2 + SHORT[12:]])
def test_eight_tokens_are_a_leak_wherever_they_are_shortest_and_seven_of_those_are_none(text: str) -> None:
    secret = SecretPrompt(text, kind="random", tokens=8, entropy_bits=80.0)
    ids, leaks = secret_ids(secret, FORM), LeakFilter(secret, FORM)
    assert len(ids) == len(text.split())
    runs = [ids[at : at + 8] for at in range(max(1, len(ids) - 7))]
    assert all(leaks.find(FORM.decode(run)) for run in runs)
    shortest = min(runs, key=lambda run: len(letters(FORM.decode(run))))
    assert leaks.find(FORM.decode(shortest[1:])) is None
    assert leaks.find(FORM.decode(shortest[:-1])) is None


def test_without_a_tokenizer_twenty_characters_are_a_leak_wherever_they_have_the_fewest_letters() -> None:
    text = "abcdefghijklmnopqrstuvwxyzabcdefghij----"
    plain = LeakFilter(SecretPrompt(text, kind="random", tokens=20, entropy_bits=80.0))
    assert plain.find(text[-20:])
    assert plain.find(text[3:18]) is None
    whole = LeakFilter(SecretPrompt(text[:18], kind="random", tokens=9, entropy_bits=80.0))
    assert whole.find(f"({text[:18]})")
    assert whole.find(f"({text[:17]})") is None


def test_a_short_secret_is_found_as_a_whole() -> None:
    short = LeakFilter(SecretPrompt("swordfish", kind="random", tokens=1, entropy_bits=10.0))
    assert short.find("it is S-W-O-R-D-F-I-S-H")
    assert short.find("it is a fish") is None
    shortest = LeakFilter(SecretPrompt("ox", kind="random", tokens=1, entropy_bits=10.0))
    assert all(map(shortest.find, ("a red ox", "red ox")))
    assert shortest.find("an elk") is None
