"""Answers: their words, why they end and what they cost, whole or in pieces, behind a secret or not."""

from __future__ import annotations

import functools
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from support.tiny import loaded, tiny_llama  # noqa: E402
from watchword.chat.types import Conversation, Message, conversation  # noqa: E402
from watchword.errors import RowTooLongError, TemplateError  # noqa: E402
from watchword.models.answer import Answer  # noqa: E402
from watchword.models.base import ChatModel, GenerationOptions, LocalChatModel, template_at_hand  # noqa: E402
from watchword.models.decode import generate_ids  # noqa: E402
from watchword.models.fakes import FakeModel, fake_template  # noqa: E402
from watchword.models.generate import prompt_ids  # noqa: E402
from watchword.secret.generate import experiment_secret, secret_ids  # noqa: E402

SECRET = experiment_secret(fake_template(), tokens=20, seed=0)
ASKED = conversation("Why is the sky blue?", system="Be brief.")


@functools.cache
def tiny_model() -> Any:
    return loaded(tiny_llama())


@pytest.fixture
def tiny() -> Any:
    return tiny_model()


def streamed(model: ChatModel, conv: Conversation, **options: Any) -> tuple[list[str], Answer]:
    """The texts of all pieces, and the answer that the last one carries."""
    *pieces, last = model.stream(conv, **options)
    assert [piece.answer for piece in pieces] == [None] * len(pieces)
    assert last.answer is not None
    return [piece.text for piece in (*pieces, last)], last.answer


def test_the_secret_stands_in_the_ids_and_the_answers_keep_the_order(tiny: Any) -> None:
    asked = [conversation(f"{'why ' * n}?", system="Be brief.") for n in (3, 1, 2)]
    options = GenerationOptions(max_new_tokens=5)
    secret = secret_ids(SECRET, tiny.template)
    with_secret = [prompt_ids(conv, tiny.template, SECRET) for conv in asked]
    assert all(secret == ids[ids.index(secret[0]) :][: len(secret)] for ids in with_secret)
    answers = tiny.generate(asked, secret=SECRET, options=options)
    assert answers == [tiny.generate([conv], secret=SECRET, options=options)[0] for conv in asked]
    assert [answer.text for answer in answers] != [answer.text for answer in tiny.generate(asked, options=options)]
    assert not any("<|im_end|>" in answer.text for answer in answers)


@pytest.mark.parametrize("secret", [None, SECRET])
def test_what_the_provider_adds_is_not_counted(tiny: Any, secret: Any) -> None:
    [answer] = tiny.generate([ASKED], secret=secret, options=GenerationOptions(max_new_tokens=5, min_new_tokens=5))
    assert answer.usage.prompt_tokens == len(prompt_ids(ASKED, tiny.template, None))
    assert (answer.usage.completion_tokens, answer.finish) == (5, "length")


def test_an_answer_says_whether_the_model_ended_it(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options = GenerationOptions(max_new_tokens=6)
    ids = generate_ids(tiny, [prompt_ids(ASKED, tiny.template, None)], options=options)[0]
    fourth = ids.index(ids[3]) + 1
    monkeypatch.setattr(tiny.model.generation_config, "eos_token_id", ids[3])
    for length, finish in ((6, "stop"), (fourth, "stop"), (fourth - 1, "length")):
        [answer] = tiny.generate([ASKED], options=GenerationOptions(max_new_tokens=length))
        assert (answer.finish, answer.usage.completion_tokens) == (finish, min(length, fourth))
        assert streamed(tiny, ASKED, options=GenerationOptions(max_new_tokens=length))[1] == answer


@given(st.text(max_size=40), st.booleans(), st.integers(1, 40), st.sampled_from([0.0, 1.0]), st.integers(0, 99))
def test_pieces_make_the_answer_of_generate(
    text: str, secret: bool, length: int, temperature: float, seed: int
) -> None:
    model = tiny_model()
    options = GenerationOptions(max_new_tokens=length, temperature=temperature, seed=seed)
    given_secret = SECRET if secret else None
    [whole] = model.generate([conversation(text)], secret=given_secret, options=options)
    pieces, answer = streamed(model, conversation(text), secret=given_secret, options=options)
    assert ("".join(pieces), answer) == (whole.text, whole)


def test_a_request_that_cannot_be_answered_raises_at_the_call(tiny: Any) -> None:
    with pytest.raises(RowTooLongError):
        tiny.stream(ASKED, options=GenerationOptions(max_new_tokens=2048))
    late = Conversation(messages=(Message("user", "a"), Message("system", "b")))
    for model in (tiny, FakeModel()):
        with pytest.raises(TemplateError):
            model.stream(late, secret=SECRET)


def test_a_model_in_memory_has_its_template_at_hand(tiny: Any) -> None:
    model: LocalChatModel = tiny
    assert template_at_hand(model) is tiny.template
    assert model.system_style == fake_template().system_style
