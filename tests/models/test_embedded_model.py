"""The real base model: loads, answers, and in float32 says to the token what transformers says."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from support.tiny import plain_greedy  # noqa: E402
from watchword.chat.types import conversation  # noqa: E402
from watchword.models.base import GenerationOptions  # noqa: E402
from watchword.models.decode import generate_ids, stop_tokens  # noqa: E402
from watchword.models.generate import prompt_ids  # noqa: E402
from watchword.models.load import load  # noqa: E402
from watchword.secret.generate import experiment_secret, secret_ids  # noqa: E402

pytestmark = pytest.mark.integration

ASKED = [
    conversation("What is the capital of France?"),
    conversation("How do I boil an egg?", system="You answer in one short sentence."),
]


@pytest.fixture(scope="module")
def model() -> Any:
    return load("smollm2-135m-base", dtype=torch.float32, device="cpu")


def test_answers_a_question(model: Any) -> None:
    assert "Paris" in model.generate(ASKED[:1], options=GenerationOptions(max_new_tokens=24))[0].text


@pytest.mark.parametrize("secret_tokens", [0, 150])
def test_greedy_equals_transformers(model: Any, secret_tokens: int) -> None:
    secret = experiment_secret(model.template, tokens=secret_tokens, seed=0) if secret_tokens else None
    asked = [prompt_ids(conv, model.template, secret) for conv in ASKED]
    stops = sorted(stop_tokens(model))
    ours = generate_ids(model, asked, options=GenerationOptions(max_new_tokens=20))
    assert ours == [plain_greedy(model.model, prompt, 20, stops) for prompt in asked]


def test_a_secret_keeps_its_tokens(model: Any) -> None:
    secret = experiment_secret(model.template, tokens=150, seed=0)
    assert len(secret_ids(secret, model.template)) == 150
    assert secret.entropy_bits > 1500


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_stream_gives_the_answer_in_pieces(model: Any, temperature: float) -> None:
    options = GenerationOptions(max_new_tokens=24, temperature=temperature, seed=1)
    secret = experiment_secret(model.template, tokens=150, seed=0)
    for conv in (*ASKED, conversation("Write three emoji and a word with an accent.")):
        pieces = list(model.stream(conv, secret=secret, options=options))
        assert [pieces[-1].answer] == model.generate([conv], secret=secret, options=options)
        assert "".join(piece.text for piece in pieces) == pieces[-1].answer.text
        assert len(pieces) > 5
        assert not any(piece.text.endswith("\ufffd") for piece in pieces[:-1])
