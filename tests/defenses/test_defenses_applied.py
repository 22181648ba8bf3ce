"""Asking through a defense: the secret goes into requests, and comes out in no answer, whole or in pieces."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.chat.types import Conversation, conversation
from watchword.defenses import AppliedDefense
from watchword.defenses.base import DEFENSES
from watchword.errors import UsageError
from watchword.models.answer import AnswerPiece
from watchword.models.base import GenerationOptions
from watchword.models.fakes import FakeModel
from watchword.secret.prompt import SecretPrompt

TEXT = "violet anchor seven lanterns beyond the quiet harbour wall"
SECRET = SecretPrompt(TEXT, kind="random", tokens=9, entropy_bits=100.0)
OTHER = SecretPrompt("nineteen copper kettles sing at noon", kind="random", tokens=6, entropy_bits=100.0)
APPLIED = AppliedDefense(DEFENSES.create("backdoor_align"), SECRET)
PLAIN = AppliedDefense(DEFENSES.create("none"), None)
ASKED = [conversation("How do I bake bread?", system="Be brief."), conversation("And rolls?")]


def reciting() -> FakeModel:
    return FakeModel(f"Bare: {TEXT}.", answers_with_secret=f"My words are {TEXT}, and no more.")


def test_answers_come_in_order_behind_the_secret_and_without_it() -> None:
    model, told = reciting(), list[tuple[int, int]]()
    options = GenerationOptions(max_new_tokens=9, batch_size=1)
    answers = APPLIED.ask(model, ASKED, options=options, on_progress=lambda done, total: told.append((done, total)))
    assert [answer.text for answer in answers] == ["My words are [secret], and no more."] * 2
    assert [answer.finish for answer in answers] == ["stop"] * 2
    assert [request.conversation for request in model.requests] == ASKED
    assert all(request.with_secret and request.options == options for request in model.requests)
    assert told == [(1, 2), (2, 2)]


def test_without_its_secret_a_model_is_asked_bare_and_its_answer_cleaned_all_the_same() -> None:
    model = reciting()
    bare = APPLIED.without_secret()
    assert bare.ask(model, ASKED[:1])[0].text == "Bare: [secret]."
    assert list(bare.stream(model, ASKED[0]))[-1].answer == bare.ask(model, ASKED[:1])[0]
    assert not any(request.with_secret for request in model.requests)


def test_behind_another_secret_both_stay_hidden() -> None:
    model = FakeModel("none", answers_with_secret=f"{TEXT} / {OTHER.reveal()}")
    moved = APPLIED.behind(OTHER)
    assert moved.guard(ASKED[0]).secret == OTHER
    assert moved.ask(model, ASKED[:1])[0].text == "[secret] / [secret]"
    assert "".join(piece.text for piece in moved.stream(model, ASKED[0])) == "[secret] / [secret]"


def test_a_defense_without_a_secret_changes_nothing() -> None:
    model = reciting()
    assert PLAIN.ask(model, ASKED[:1])[0].text == f"Bare: {TEXT}."
    assert "".join(piece.text for piece in PLAIN.stream(model, ASKED[0])) == f"Bare: {TEXT}."
    assert PLAIN.clean(TEXT) == TEXT


def test_a_stream_is_the_answer_that_asking_gives() -> None:
    model = reciting()
    pieces = list(APPLIED.stream(model, ASKED[0]))
    assert "".join(piece.text for piece in pieces) == "My words are [secret], and no more."
    assert [piece.answer for piece in pieces] == [None] * (len(pieces) - 1) + APPLIED.ask(model, ASKED[:1])
    assert len(pieces) > 3


@given(st.lists(st.sampled_from([TEXT, TEXT[:20], TEXT[9:], TEXT[:8], "Bread.", " ", ""])), st.integers(1, 30))
def test_a_stream_of_texts_is_clean_wherever_it_is_cut(parts: list[str], size: int) -> None:
    text = "".join(parts)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    for applied in (APPLIED, APPLIED.without_secret(), APPLIED.behind(OTHER), PLAIN):
        out = list(applied.clean_stream(pieces))
        assert "".join(out) == applied.clean(text)
        assert "" not in out


class Slow(FakeModel):
    """Says whether its stream was ended."""

    closed = False

    def stream(self, conversation: Conversation, **rest: object) -> Generator[AnswerPiece, None, None]:
        def pieces() -> Iterator[AnswerPiece]:
            try:
                while True:
                    yield AnswerPiece("and so on ")
            finally:
                self.closed = True

        return pieces()  # type: ignore[return-value]


@pytest.mark.parametrize("applied", [APPLIED, PLAIN])
def test_closing_a_stream_ends_the_models_work(applied: AppliedDefense) -> None:
    model = Slow()
    answer = applied.stream(model, ASKED[0])
    assert next(answer).text
    assert not model.closed
    answer.close()
    assert model.closed


def test_a_request_that_cannot_be_answered_raises_at_the_call() -> None:
    with pytest.raises(UsageError, match="the fake model knows no answer"):
        APPLIED.stream(FakeModel({"Other?": "Yes."}), ASKED[0])


def test_the_secret_shows_in_no_repr() -> None:
    assert TEXT[:8] not in f"{APPLIED!r} {APPLIED.guard(ASKED[0])!r}"
