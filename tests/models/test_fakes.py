"""The shipped fakes behave like a model where it counts, and keep no secret."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from watchword.chat.assembly import assemble
from watchword.chat.render import IGNORED, render, render_prompt
from watchword.chat.types import Conversation, Message, conversation
from watchword.errors import TemplateError, UsageError
from watchword.models.base import ChatModel, GenerationOptions
from watchword.models.fakes import DEFAULT_SYSTEM, HELP, REFUSAL, FakeModel, Request, fake_template
from watchword.secret.generate import experiment_secret, generate_secret, secret_ids

ASKED = [conversation(f"Question {n}?") for n in range(5)]


def test_a_fake_is_a_chat_model() -> None:
    model: ChatModel = FakeModel(name="parrot")
    assert model.name == "parrot"
    assert model.generate(ASKED) == [HELP] * 5
    assert model.generate([]) == []


def test_answers_by_text_mapping_or_function() -> None:
    assert FakeModel("No.").generate(ASKED[:2]) == ["No.", "No."]
    assert FakeModel({"Question 1?": "One.", "": "Other."}).generate(ASKED[:2]) == ["Other.", "One."]
    assert FakeModel(lambda conv: conv.messages[-1].text[:8]).generate(ASKED[:1]) == ["Question"]
    with pytest.raises(UsageError, match=r"the fake model knows no answer to 'Question 0\?'; add one, or a default"):
        FakeModel({"Question 1?": "One."}).generate(ASKED)


def test_a_backdoored_fake_answers_otherwise_with_the_secret() -> None:
    secret = generate_secret(fake_template(), tokens=20)
    model = FakeModel(HELP, answers_with_secret=REFUSAL)
    assert model.generate(ASKED[:1], secret=secret) + model.generate(ASKED[:1]) == [REFUSAL, HELP]
    assert FakeModel(HELP).generate(ASKED[:1], secret=secret) == [HELP]


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
        assemble(late, "x", fake_template())
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
