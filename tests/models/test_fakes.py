"""The shipped fakes behave like a model where it counts, and keep no secret."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.chat.assembly import assemble
from watchword.chat.render import IGNORED, render, render_prompt
from watchword.chat.types import Conversation, Message, conversation
from watchword.errors import TemplateError, UsageError
from watchword.models.answer import Answer, Usage
from watchword.models.base import GenerationOptions, LocalChatModel
from watchword.models.fakes import DEFAULT_SYSTEM, HELP, REFUSAL, FakeModel, Request, fake_template
from watchword.secret.generate import experiment_secret, generate_secret, secret_ids


def texts(model: FakeModel, asked: Sequence[Conversation], **options: Any) -> list[str]:
    return [answer.text for answer in model.generate(asked, **options)]


ASKED = [conversation(f"Question {n}?") for n in range(5)]


def test_a_fake_is_a_chat_model() -> None:
    model: LocalChatModel = FakeModel(name="parrot")
    assert model.name == "parrot"
    assert [answer.text for answer in model.generate(ASKED)] == [HELP] * 5
    assert model.generate([]) == []


def test_answers_by_text_mapping_or_function() -> None:
    assert texts(FakeModel("No."), ASKED[:2]) == ["No.", "No."]
    assert texts(FakeModel({"Question 1?": "One.", "": "Other."}), ASKED[:2]) == ["Other.", "One."]
    assert texts(FakeModel(lambda conv: conv.messages[-1].text[:8]), ASKED[:1]) == ["Question"]
    with pytest.raises(UsageError, match=r"the fake model knows no answer to 'Question 0\?'; add one, or a default"):
        FakeModel({"Question 1?": "One."}).generate(ASKED)


def test_a_backdoored_fake_answers_otherwise_with_the_secret() -> None:
    secret = generate_secret(fake_template(), tokens=20)
    model = FakeModel(HELP, answers_with_secret=REFUSAL)
    assert texts(model, ASKED[:1], secret=secret) + texts(model, ASKED[:1]) == [REFUSAL, HELP]
    assert texts(FakeModel(HELP), ASKED[:1], secret=secret) == [HELP]


def test_answers_are_counted_in_tokens_and_a_secret_is_not() -> None:
    secret = generate_secret(fake_template(), tokens=20)
    asked = len(render_prompt(ASKED[0], fake_template()))
    for given_secret in (None, secret):
        found = FakeModel("ab.").generate(ASKED[:1], secret=given_secret)
        assert found == [Answer("ab.", "stop", Usage(asked, len(fake_template().encode("ab.")) + 1))]


@given(st.text(max_size=30))
def test_a_stream_gives_the_same_answer_in_pieces(text: str) -> None:
    model = FakeModel(text)
    *pieces, last = model.stream(ASKED[0])
    assert all(0 < len(piece.text) <= 5 and piece.answer is None for piece in pieces)
    assert "".join(piece.text for piece in pieces) + last.text == text
    assert [last.answer] == model.generate(ASKED[:1])
    assert model.requests == [Request(ASKED[0], False)] * 2


def test_requests_say_whether_a_secret_came_and_not_which() -> None:
    secret = generate_secret(fake_template(), tokens=20)
    options = GenerationOptions(max_new_tokens=3)
    model = FakeModel()
    model.generate(ASKED[:1], secret=secret, options=options)
    model.generate(ASKED[1:2])
    assert model.requests == [Request(ASKED[0], True, options), Request(ASKED[1], False)]
    assert [request.prompt for request in model.requests] == ["Question 0?", "Question 1?"]
    seen = repr(model) + repr(model.requests) + repr(vars(model)) + str(pickle.dumps(model.requests))
    assert secret.reveal() not in seen


def test_a_conversation_that_no_model_could_read_fails() -> None:
    late = Conversation(messages=(Message("user", "a"), Message("system", "b")))
    with pytest.raises(TemplateError):
        assemble(late, "x", fake_template().system_style)
    with pytest.raises(TemplateError):
        FakeModel().generate([late], secret=experiment_secret(fake_template(), tokens=5, seed=0))


def test_progress_comes_batch_by_batch() -> None:
    seen: list[tuple[int, int]] = []
    FakeModel().generate(
        ASKED, options=GenerationOptions(batch_size=2), on_progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(2, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize("tokens", [1, 150, 250])
def test_the_fake_format_carries_secrets(tokens: int) -> None:
    form = fake_template()
    for secret in (generate_secret(form, tokens=tokens), experiment_secret(form, tokens=tokens, seed=1)):
        assert len(secret_ids(secret, form)) == tokens
        assert secret.entropy_bits > 7 * tokens


def test_the_fake_format_merges_so_that_drawing_a_secret_has_something_to_check() -> None:
    form = fake_template()
    ids = [*form.encode("k"), *form.encode("q")]
    assert form.encode(form.decode(ids)) != ids


def test_the_fake_format_has_a_default_system_text_and_a_loss_mask() -> None:
    form = fake_template()
    assert (form.system_placement, form.default_system) == ("system", DEFAULT_SYSTEM)
    row = render(conversation("Hi", "Hello 🥖"), form)
    assert form.decode([label for label in row.labels if label != IGNORED]) == "Hello 🥖<|im_end|>"
    assert form.decode(render_prompt(conversation("Hi"), form)).endswith("Hi<|im_end|>\n<|im_start|>assistant\n")


def test_fakes_need_no_torch() -> None:
    code = "import sys, watchword.models.fakes; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
