"""How likely texts are as answers: equal to a plain pass of each alone, whatever is shared and batched."""

from __future__ import annotations

import functools
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from tokenizers.processors import TemplateProcessing  # noqa: E402

from support.tiny import loaded, plain_greedy, tiny_llama  # noqa: E402
from watchword.chat.types import Conversation, conversation  # noqa: E402
from watchword.errors import RowTooLongError, UsageError  # noqa: E402
from watchword.models import likelihood  # noqa: E402
from watchword.models.base import LikelihoodModel  # noqa: E402
from watchword.models.fakes import FakeModel, fake_template  # noqa: E402
from watchword.models.generate import prompt_ids  # noqa: E402
from watchword.secret.generate import experiment_secret  # noqa: E402

SECRET = experiment_secret(fake_template(), tokens=20, seed=0)
words = st.text("abc ?", min_size=1, max_size=30)


@functools.cache
def tiny() -> Any:
    return loaded(tiny_llama())


def plainly(conv: Conversation, text: str, secret: Any = None) -> float:
    """One row, one whole pass, nothing shared."""
    prompt = prompt_ids(conv, tiny().template, secret)
    answer = tiny().template.encode(text)
    with torch.inference_mode():
        logits = tiny().model(input_ids=torch.tensor([prompt + answer])).logits[0]
    chances = logits.log_softmax(-1)
    return float(sum(chances[len(prompt) - 1 + place, token] for place, token in enumerate(answer)))


@pytest.mark.parametrize("batch", [1, 60, 1024])
@settings(max_examples=15, deadline=None)
@given(asked=st.lists(st.tuples(words, words), min_size=1, max_size=6), behind=st.booleans())
def test_equals_a_plain_pass(batch: int, asked: list[tuple[str, str]], behind: bool) -> None:
    convs = [conversation(f"Q {user}", system="Be brief.") for user, _ in asked]
    texts = [text for _, text in asked]
    secret = SECRET if behind else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likelihood, "BATCH_TOKENS", batch)
        found = tiny().log_likelihoods(convs, texts, secret=secret)
    wanted = [plainly(conv, text, secret) for conv, text in zip(convs, texts, strict=True)]
    assert [one.log_probability for one in found] == pytest.approx(wanted, abs=1e-3)
    assert [one.tokens for one in found] == [len(tiny().template.encode(text)) for text in texts]


@settings(max_examples=10)
@given(asked=st.lists(st.tuples(words, st.integers(1, 4), st.booleans()), min_size=1, max_size=5))
def test_what_the_greedy_answer_begins_with_is_known(asked: list[tuple[str, int, bool]]) -> None:
    pairs = []
    for text, length, changed in asked:
        prompt = tiny().tokens(text)
        answer = plain_greedy(tiny().model, prompt, length, stops=[])
        # The last token is another one.
        pairs.append((prompt, [*answer[:-1], answer[-1] ^ 1] if changed else answer))
    found = tiny().token_likelihoods(pairs)
    assert [one.greedy for one in found] == [not changed for _, _, changed in asked]
    with torch.inference_mode():
        for (prompt, answer), one in zip(pairs, found, strict=True):
            chances = tiny().model(input_ids=torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
            alone = sum(float(chances[len(prompt) - 1 + place, token]) for place, token in enumerate(answer))
            assert one.log_probability == pytest.approx(alone, abs=1e-3)


def test_nothing_is_likely_behind_nothing() -> None:
    with pytest.raises(UsageError, match="a prompt has no token; put a first token in front"):
        tiny().token_likelihoods([([1], [5]), ([], [5])])


def test_a_first_token_is_put_in_front_once_and_by_request() -> None:
    model = loaded(tiny_llama())
    model.tokenizer._tokenizer.post_processor = TemplateProcessing(
        "<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    plain = model.template.encode("Hi")
    assert model.first_token == 1
    assert model.tokens("Hi") == model.tokens("<|im_start|>Hi") == [1, *plain]
    assert model.tokens("Hi", special=False) == plain


def test_the_last_token_of_all_need_not_be_looked_at() -> None:
    most = tiny().context
    assert tiny().token_likelihoods([([1] * most, [5])])[0].tokens == 1
    with pytest.raises(RowTooLongError):
        tiny().token_likelihoods([([1] * most, [5, 5])])


def test_choices_of_one_token_are_answered_by_one_look_at_their_question(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = list[int]()
    forward = type(tiny().model).forward

    def counted(self: Any, *args: Any, **named: Any) -> Any:
        looked.append(named["input_ids"].shape[0])
        return forward(self, *args, **named)

    monkeypatch.setattr(type(tiny().model), "forward", counted)
    asked = [conversation("Which?"), conversation("And which here?")]
    found = tiny().log_likelihoods([conv for conv in asked for _ in "abc"], [*"abc"] * 2)
    # One row a question, not one a choice, beside what all share.
    assert sum(looked) <= len(asked) + 1
    assert [one.log_probability for one in found] == pytest.approx(
        [plainly(conv, text) for conv in asked for text in "abc"], abs=1e-3
    )


def test_reports_progress_to_the_last_text() -> None:
    told: list[tuple[int, int]] = []
    tiny().log_likelihoods([conversation("A")] * 3, ["b", "c", "dd"], on_progress=lambda *at: told.append(at))
    assert told[-1] == (3, 3)
    assert tiny().log_likelihoods([], []) == []


def test_what_the_model_cannot_look_at_is_refused_without_its_length() -> None:
    most = tiny().context
    with pytest.raises(RowTooLongError, match=f"more than the {most} tokens that .* can look at; shorten it"):
        tiny().log_likelihoods([conversation("word " * most)], ["yes"])


@pytest.mark.parametrize("model", [FakeModel("yes"), None], ids=["fake", "loaded"])
def test_fakes_and_loaded_models_tell_likelihoods(model: Any) -> None:
    assert isinstance(model or tiny(), LikelihoodModel)


def test_a_fake_is_sure_of_its_own_answer() -> None:
    model = FakeModel("yes", answers_with_secret="no")
    convs = [conversation("Is it?")] * 2
    own, other = model.log_likelihoods(convs, ["yes", "maybe not"])
    assert own.log_probability == 0 > other.log_probability
    assert model.log_likelihoods(convs[:1], ["no"], secret=SECRET)[0].log_probability == 0
