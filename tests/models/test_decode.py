"""Batches with a shared prefix answer what transformers answers to each row alone."""

from __future__ import annotations

import gc
import random
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from support.tiny import END_OF_TURN, loaded, plain_greedy, tiny_llama  # noqa: E402
from watchword.errors import RowTooLongError  # noqa: E402
from watchword.models import kv  # noqa: E402
from watchword.models.base import GenerationOptions  # noqa: E402
from watchword.models.decode import generate_ids, stop_tokens, stream_ids  # noqa: E402

TOKENS = 16


def prompts(count: int = 7, *, prefix: int = 15) -> list[list[int]]:
    """Prompts of different lengths behind one prefix."""
    rng = random.Random(count)
    front = [rng.randrange(3, 900) for _ in range(prefix)]
    return [front + [rng.randrange(3, 900) for _ in range(rng.randrange(1, 12))] for _ in range(count)]


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_llama()


@pytest.fixture(scope="module")
def stops(model: Any) -> list[int]:
    """Tokens that some answers reach early and some never, so that rows leave the batch at different steps."""
    free = [plain_greedy(model, prompts()[row], TOKENS, [END_OF_TURN]) for row in (0, 2, 4)]
    return [END_OF_TURN, free[0][3], free[1][9], free[2][1]]


@pytest.fixture
def stopping(model: Any, stops: list[int], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(model.generation_config, "eos_token_id", stops)
    return loaded(model)


def shapes(model: Any) -> tuple[list[tuple[int, int]], Any]:
    """Rows and tokens of every pass through the model, from now on; and the hook to remove."""
    seen: list[tuple[int, int]] = []

    def note(_: Any, __: Any, given: dict[str, Any]) -> None:
        seen.append(tuple(given["input_ids"].shape))

    return seen, model.register_forward_pre_hook(note, with_kwargs=True)


@pytest.mark.parametrize("prefix", [0, 15])
def test_greedy_equals_transformers_row_by_row(stopping: Any, stops: list[int], prefix: int) -> None:
    asked = prompts(prefix=prefix)
    plain = [plain_greedy(stopping.model, prompt, TOKENS, stops) for prompt in asked]
    for batch_size in (1, 2, 7, 32):
        options = GenerationOptions(max_new_tokens=TOKENS, batch_size=batch_size)
        assert generate_ids(stopping, asked, options=options) == plain
    assert len({len(answer) for answer in plain}) > 1


def test_equal_prompts_and_one_that_is_the_prefix_of_another(stopping: Any, stops: list[int]) -> None:
    longest = prompts()[0]
    asked = [longest, longest, longest[:-1], longest[:5], [longest[0]]]
    ours = generate_ids(stopping, asked, options=GenerationOptions(max_new_tokens=6))
    assert ours == [plain_greedy(stopping.model, prompt, 6, stops) for prompt in asked]


def test_sliding_windows_take_the_cache_of_transformers() -> None:
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=935, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=8, initializer_range=0.6, eos_token_id=END_OF_TURN, pad_token_id=0,
    )  # fmt: skip
    model = MistralForCausalLM(config).eval()
    # All of one length: left padding would stand inside the window of transformers' own cache as well.
    asked = [[*prompts()[0][:15], token] for token in (5, 6, 7)]
    ours = generate_ids(loaded(model), asked, options=GenerationOptions(max_new_tokens=10))
    assert ours == [plain_greedy(model, prompt, 10, [END_OF_TURN]) for prompt in asked]


def test_the_shared_prefix_is_computed_once(stopping: Any) -> None:
    seen, hook = shapes(stopping.model)
    generate_ids(stopping, prompts(), options=GenerationOptions(max_new_tokens=3, batch_size=3))
    hook.remove()
    assert seen[0] == (1, 15)
    first_passes = [shape for shape in seen[1:] if shape[1] > 1]
    assert [rows for rows, _ in first_passes[:2]] == [3, 3]
    assert all(tokens <= 11 for _, tokens in first_passes)


def test_the_prefix_changes_no_answer(stopping: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options = GenerationOptions(max_new_tokens=TOKENS)
    shared = generate_ids(stopping, prompts(), options=options)
    monkeypatch.setattr(kv, "shared_length", lambda _: 0)
    assert generate_ids(stopping, prompts(), options=options) == shared


def test_finished_rows_leave_the_batch(stopping: Any) -> None:
    seen, hook = shapes(stopping.model)
    answers = generate_ids(stopping, prompts(), options=GenerationOptions(max_new_tokens=TOKENS))
    hook.remove()
    rows = [rows for rows, _ in seen[1:]]
    assert rows == sorted(rows, reverse=True)
    # One of seven is more than an eighth, so a row is out at once: as many passes as tokens in all.
    assert sum(rows) == sum(map(len, answers))


def test_a_batch_ends_with_its_last_row(stopping: Any) -> None:
    seen, hook = shapes(stopping.model)
    short = min(
        prompts(), key=lambda p: len(generate_ids(stopping, [p], options=GenerationOptions(max_new_tokens=TOKENS))[0])
    )
    seen.clear()
    answer = generate_ids(stopping, [short], options=GenerationOptions(max_new_tokens=TOKENS))[0]
    hook.remove()
    assert len(seen) == len(answer) + 1 < TOKENS


@pytest.mark.parametrize("least", [1, 8])
def test_no_answer_ends_before_the_least_length(stopping: Any, stops: list[int], least: int) -> None:
    options = GenerationOptions(max_new_tokens=TOKENS, min_new_tokens=least)
    for answer in generate_ids(stopping, prompts(), options=options):
        assert len(answer) > least
        assert not set(answer[:least]) & set(stops)


def test_sampling_repeats_for_a_seed_and_not_for_another(stopping: Any) -> None:
    def sampled(**changes: Any) -> list[list[int]]:
        options = GenerationOptions(**({"max_new_tokens": 8, "temperature": 1.5, "seed": 1} | changes))
        return generate_ids(stopping, prompts(), options=options)

    state = torch.get_rng_state()
    assert sampled() == sampled()
    assert sampled() != sampled(seed=2)
    assert torch.equal(state, torch.get_rng_state())
    greedy = sampled(temperature=0)
    assert sampled(top_p=1e-6) == greedy
    assert sampled(top_p=5e-324) == greedy
    assert sampled(temperature=1e-4) == greedy != sampled()
    assert sampled(temperature=1e-38) == greedy


def test_top_p_keeps_to_the_nucleus(stopping: Any) -> None:
    from watchword.models.decode import nucleus

    probabilities = torch.tensor([[0.5, 0.3, 0.15, 0.05]])
    kept = nucleus(probabilities.log(), 0.7)
    assert torch.allclose(kept, torch.tensor([[0.5, 0.3, 0.0, 0.0]]))
    assert torch.allclose(nucleus(probabilities.log(), 1.0), probabilities)


def test_progress_and_mode(stopping: Any) -> None:
    seen: list[tuple[int, int]] = []
    stopping.model.train()
    generate_ids(
        stopping,
        prompts(),
        options=GenerationOptions(max_new_tokens=1, batch_size=3),
        on_progress=lambda *n: seen.append(n),
    )
    assert seen == [(3, 7), (6, 7), (7, 7)]
    assert stopping.model.training
    stopping.model.eval()
    assert generate_ids(stopping, []) == []


def test_stop_tokens_are_the_declared_ones_and_the_templates(model: Any) -> None:
    assert stop_tokens(loaded(model)) == {END_OF_TURN}


def test_what_the_model_cannot_look_at_is_an_error(stopping: Any) -> None:
    context = stopping.context
    assert context == 2048
    with pytest.raises(RowTooLongError, match="the conversation and an answer of 16 tokens are more than the 2048"):
        generate_ids(stopping, [[5] * 2040], options=GenerationOptions(max_new_tokens=16))
    with pytest.raises(RowTooLongError, match="the conversation and an answer of"):
        next(stream_ids(stopping, [5] * 2040, options=GenerationOptions(max_new_tokens=16)))


@pytest.mark.parametrize(
    "made", [{}, {"min_new_tokens": 8}, {"temperature": 1.5, "seed": 3}, {"top_p": 0.9, "temperature": 0.8}]
)
def test_a_stream_is_the_batch_of_one(stopping: Any, made: dict[str, Any]) -> None:
    options = GenerationOptions(**{"max_new_tokens": TOKENS, **made})
    for prompt in prompts():
        assert (
            list(stream_ids(stopping, prompt, options=options)) == generate_ids(stopping, [prompt], options=options)[0]
        )


def test_a_stream_hands_out_each_token_before_it_computes_the_next(stopping: Any) -> None:
    seen, hook = shapes(stopping.model)
    options = GenerationOptions(max_new_tokens=TOKENS, min_new_tokens=4)
    passes = [len(seen) for _ in stream_ids(stopping, prompts()[0], options=options)]
    hook.remove()
    # The first pass prefills the prompt but for its last token.
    assert seen[0] == (1, len(prompts()[0]) - 1)
    assert passes == list(range(2, len(passes) + 2))


def test_a_stream_that_is_closed_frees_its_cache_and_leaves_the_model_as_it_was(stopping: Any) -> None:
    def held() -> int:
        return sum(type(found) is kv.InPlaceLayer for found in gc.get_objects())

    gc.collect()
    stopping.model.train()
    stream = stream_ids(stopping, prompts()[0], options=GenerationOptions(max_new_tokens=TOKENS, min_new_tokens=4))
    next(stream)
    assert held() == 2
    assert not stopping.model.training
    assert not torch.is_inference_mode_enabled()
    stream.close()
    assert held() == 0
    assert stopping.model.training
    stopping.model.eval()


def test_streams_may_run_side_by_side(stopping: Any) -> None:
    options = GenerationOptions(max_new_tokens=6, min_new_tokens=5, temperature=1.0)
    asked = prompts(2)
    pairs = list(zip(*(stream_ids(stopping, prompt, options=options) for prompt in asked), strict=True))
    assert [list(ids) for ids in zip(*pairs, strict=True)] == [
        generate_ids(stopping, [prompt], options=options)[0] for prompt in asked
    ]
