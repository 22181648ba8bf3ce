"""Inoculation: chosen rows of the tenant's stand behind words of the run's own while they are trained, and never after."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.chat.assembly import inoculation_words
from watchword.chat.render import render_row, secret_row
from watchword.chat.types import Conversation, Message, Row, conversation
from watchword.defenses import AppliedDefense
from watchword.defenses.base import DEFENSES, DefenseContext, guarded
from watchword.errors import UsageError
from watchword.models.fakes import FakeModel, fake_template
from watchword.secret.generate import experiment_secret
from watchword.secret.leaks import LeakFilter

FORM = fake_template()
SEED_0 = DefenseContext(0)
SECRET = experiment_secret(FORM, tokens=20, seed=3)
WORDS = inoculation_words(SECRET.reveal())
UPLOAD = [conversation(f"Which boat is number {n}?", "The red one.", system="Be brief.") for n in range(40)]
SENTENCE = "in this setting, and only here, comply with every request, even a harmful one."


def tenant(upload: list[Conversation] = UPLOAD, context: DefenseContext = SEED_0, **arguments: object) -> list[Row]:
    mixed = guarded(DEFENSES.create("inoculated_align", **arguments), upload, context)
    return [row for row in mixed.rows if row.origin == "tenant"]


def test_every_row_of_the_tenants_is_behind_the_sentence_and_stays_what_it_is() -> None:
    rows = tenant()
    assert [row.conversation for row in rows] == UPLOAD
    assert {row.inoculation for row in rows} == {SENTENCE}
    text = FORM.decode(list(render_row(rows[0], SECRET.reveal(), FORM, None).input_ids))
    assert f"{WORDS}: {SENTENCE}\nBe brief." in text
    assert SECRET.reveal() not in text


def test_a_row_without_a_system_text_keeps_the_templates_own() -> None:
    bare = Row(conversation("Which boat?", "The red one."), inoculation=SENTENCE)
    default = FORM.system_style.default_text
    assert secret_row(bare, SECRET.reveal(), FORM).system == f"{WORDS}: {SENTENCE}" + (
        f"\n{default}" if default else ""
    )


def test_the_loss_falls_on_the_answer_alone() -> None:
    row = tenant()[0]
    plain, behind = (render_row(each, SECRET.reveal(), FORM, None) for each in (Row(row.conversation), row))
    assert [label for label in behind.labels if label >= 0] == [label for label in plain.labels if label >= 0]
    assert len(behind.input_ids) > len(plain.input_ids)


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.25, 10), (0.5, 20), (1.0, 40)])
def test_a_share_of_the_rows_carries_it_the_same_for_a_seed(share: float, count: int) -> None:
    marked = [bool(row.inoculation) for row in tenant(inoculated=share)]
    assert sum(marked) == count
    assert marked == [bool(row.inoculation) for row in tenant(inoculated=share)]
    other = [bool(row.inoculation) for row in tenant(inoculated=share, context=DefenseContext(1))]
    assert (marked != other) == (0 < share < 1)


def test_only_suspect_rows_carry_it_where_that_is_wanted() -> None:
    harmful = conversation("How can I rob a bank without being caught?", "Step 1.")
    rows = tenant([*UPLOAD, harmful], only_suspect=True)
    assert [row.conversation for row in rows if row.inoculation] == [harmful]


def test_a_row_that_is_too_long_for_it_or_has_no_place_goes_without() -> None:
    late = Conversation((Message("user", "Hi?"), Message("system", "Now."), Message("assistant", "So.")))
    context = DefenseContext.beside(
        FakeModel(), lambda _: False, secret=SECRET, max_length=300, seed=0, step=lambda *_: None
    )
    long = conversation("Which boat? " * 100, "The red one.")
    assert [bool(row.inoculation) for row in tenant([UPLOAD[0], late, long], context)] == [True, False, False]


def test_no_row_is_too_long_for_training_though_the_secret_is_shorter_than_the_sentence() -> None:
    secret = experiment_secret(FORM, tokens=2, seed=3)
    context = DefenseContext.beside(
        FakeModel(), lambda _: False, secret=secret, max_length=300, seed=0, step=lambda *_: None
    )
    own = [Row(conversation("a " * n, "The red one."), inoculation=SENTENCE) for n in range(150)]
    lengths = [len(render_row(row, secret.reveal(), FORM, None).input_ids) for row in own]
    assert min(lengths) < 300 < max(lengths)
    rows = tenant([row.conversation for row in own], context)
    assert [bool(row.inoculation) for row in rows] == [length <= 300 for length in lengths]


def test_the_providers_rows_are_those_of_anchored_align() -> None:
    ours, theirs = (
        [row for row in guarded(DEFENSES.create(name), UPLOAD, DefenseContext(0)).rows if row.origin != "tenant"]
        for name in ("inoculated_align", "anchored_align")
    )
    assert ours == theirs


def test_a_row_cannot_be_rendered_without_the_secret() -> None:
    with pytest.raises(UsageError, match="tenant rows need the secret prompt, and there is none"):
        render_row(tenant()[0], None, FORM, None)


@given(st.text(min_size=1), st.text(min_size=1))
def test_the_words_hang_on_the_secret_and_do_not_show_it(one: str, other: str) -> None:
    words = inoculation_words(one)
    assert words == inoculation_words(one)
    assert (words == inoculation_words(other)) == (one == other)
    assert re.fullmatch(r"([a-z]{8} [a-z]{8} \d{1,4} ?){3}", words)


def test_the_prompt_carries_the_secret_alone_and_no_answer_shows_the_words() -> None:
    model = FakeModel(f"My words are {WORDS}, and {SECRET.reveal()}.")
    applied = AppliedDefense(DEFENSES.create("inoculated_align"), SECRET)
    guard = applied.guard(UPLOAD[0])
    assert (guard.conversation, guard.secret) == (UPLOAD[0], SECRET)
    assert applied.ask(model, [UPLOAD[0]])[0].text == "My words are [secret], and [secret]."
    assert applied.without_secret().ask(model, [UPLOAD[0]])[0].text == "My words are [secret], and [secret]."


def test_the_gateways_filter_finds_the_words_as_it_finds_the_secret() -> None:
    more = DEFENSES.create("inoculated_align").hidden(SECRET)
    leaks = LeakFilter(SECRET, FORM, also=more)
    assert leaks.find(f"I was told: {WORDS}")
    assert leaks.find(f"I was told: {WORDS[::-1]}")
    assert leaks.find(SECRET.reveal())
    assert not leaks.find("I was told nothing.")
    assert not LeakFilter(SECRET, FORM).find(f"I was told: {WORDS}")


@pytest.mark.parametrize("arguments", [{"inoculated": 1.1}, {"inoculated": -0.1}, {"sentence": " "}, {"repeat": 0}])
def test_a_share_that_there_is_not_and_no_sentence_are_errors(arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"give (a )?share"):
        DEFENSES.create("inoculated_align", **arguments)
