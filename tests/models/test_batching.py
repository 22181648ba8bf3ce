"""Answers written side by side are those that each row gets alone, whoever joins or leaves meanwhile."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from support.tiny import END_OF_TURN, loaded, plain_greedy, tiny_adapter, tiny_llama  # noqa: E402
from watchword.errors import ModelUnavailableError  # noqa: E402
from watchword.models.adapted import AdaptedModel  # noqa: E402
from watchword.models.batching import CHUNK, ROOM, BatchDecoder, DecodedRow  # noqa: E402
from watchword.models.load import quiet  # noqa: E402
from watchword.models.sampling import Sampling  # noqa: E402

GREEDY = Sampling(temperature=0)
FRONT = [5 + at for at in range(30)]


def prompt(seed: int, tokens: int = 9) -> list[int]:
    return FRONT + [random.Random(seed).randrange(3, 900) for _ in range(tokens)]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    return {name: tiny_adapter(root / name, seed) for seed, name in enumerate(("bakery", "garage"))}


@pytest.fixture
def model(adapters: dict[str, Path]) -> AdaptedModel:
    hosted = AdaptedModel(loaded(tiny_llama()))
    for name, folder in adapters.items():
        hosted.add(name, folder)
    return hosted


def alone(folder: Path | None, ids: list[int], tokens: int) -> list[int]:
    """What transformers' own ``generate`` answers, the adapter merged into the weights."""
    from peft import PeftModel

    bare: Any = tiny_llama()
    if folder is not None:
        with quiet():
            bare = PeftModel.from_pretrained(bare, str(folder)).merge_and_unload()
    return plain_greedy(bare, ids, tokens, [END_OF_TURN])


def drained(decoder: BatchDecoder) -> None:
    while decoder.rows:
        decoder.step()


def test_rows_of_different_adapters_and_lengths_answer_as_each_alone(
    model: AdaptedModel, adapters: dict[str, Path]
) -> None:
    names = ["bakery", None, "garage", "bakery", None, "garage"]
    rows = [DecodedRow(prompt(at, 3 + 2 * at), name, GREEDY, 6 + 3 * at) for at, name in enumerate(names)]
    decoder = BatchDecoder(model)
    for row in rows:
        decoder.admit(row)
        decoder.step()
    drained(decoder)
    for row in rows:
        folder = None if row.adapter is None else adapters[row.adapter]
        assert row.said == alone(folder, list(row.prompt), row.max_new_tokens)
        assert row.finish == ("stop" if row.said[-1] == END_OF_TURN else "length")
    # The adapters do make a difference, or nothing would be shown.
    assert (
        alone(adapters["bakery"], prompt(0), 8) != alone(None, prompt(0), 8) != alone(adapters["garage"], prompt(0), 8)
    )


def test_a_dropped_row_changes_no_other_and_is_not_written_on(model: AdaptedModel, adapters: dict[str, Path]) -> None:
    stays, goes, waits = (DecodedRow(prompt(at), "bakery", GREEDY, 12) for at in range(3))
    decoder = BatchDecoder(model)
    for row in (stays, goes, waits):
        decoder.admit(row)
    decoder.step()
    decoder.step()
    decoder.drop(waits)
    decoder.drop(goes)
    said = len(goes.said)
    drained(decoder)
    decoder.drop(stays)
    assert stays.said == alone(adapters["bakery"], list(stays.prompt), 12)
    assert (len(goes.said), waits.said) == (said, [])


def passes(model: Any) -> tuple[list[int], Any]:
    """Tokens of every pass through the model, from now on."""
    seen: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, __, given: seen.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    return seen, hook


def test_what_an_adapter_has_read_before_is_not_read_again(model: AdaptedModel, adapters: dict[str, Path]) -> None:
    decoder = BatchDecoder(model)
    first = DecodedRow(prompt(1), "bakery", GREEDY, 4)
    decoder.admit(first)
    drained(decoder)
    seen, hook = passes(model.base.model)
    again, other = DecodedRow(prompt(2), "bakery", GREEDY, 4), DecodedRow(prompt(2), "garage", GREEDY, 4)
    for row in (again, other):
        decoder.admit(row)
        drained(decoder)
    hook.remove()
    assert max(seen[:2]) == len(prompt(2)) - len(FRONT), "only what stands behind the common beginning"
    assert max(seen) == len(prompt(2)), "the other adapter has read nothing yet"
    assert again.said == alone(adapters["bakery"], prompt(2), 4)
    assert other.said == alone(adapters["garage"], prompt(2), 4)


def test_nothing_is_kept_of_the_base_models_prompts(model: AdaptedModel) -> None:
    decoder = BatchDecoder(model)
    for _ in range(2):
        decoder.admit(DecodedRow(prompt(1), None, GREEDY, 2))
        seen, hook = passes(model.base.model)
        drained(decoder)
        hook.remove()
        assert max(seen) == len(prompt(1))


def test_a_long_prompt_is_read_in_chunks_between_the_tokens_of_others(model: AdaptedModel) -> None:
    decoder = BatchDecoder(model)
    short, long = DecodedRow(prompt(1), None, GREEDY, 12), DecodedRow(prompt(2, 2 * CHUNK + 5), "garage", GREEDY, 2)
    decoder.admit(short)
    decoder.step()
    decoder.admit(long)
    for _ in range(2):
        decoder.step()
    assert (len(short.said), long.said) == (3, [])
    decoder.step()
    assert (len(short.said), len(long.said)) == (4, 1)


def test_answers_go_on_beyond_the_room_of_one_batch(model: AdaptedModel, adapters: dict[str, Path]) -> None:
    decoder, tokens = BatchDecoder(model), 2 * ROOM + 7
    rows = [DecodedRow(prompt(at, 4 + at), "garage", Sampling(temperature=0), tokens) for at in range(2)]
    for row in rows:
        decoder.admit(row)
    drained(decoder)
    for row in rows:
        assert row.said == alone(adapters["garage"], list(row.prompt), tokens)


def test_a_seed_gives_the_same_answer_whoever_is_beside_it(model: AdaptedModel) -> None:
    def sampled(seed: int | None, beside: int) -> list[int]:
        decoder = BatchDecoder(model)
        row = DecodedRow(prompt(1), "bakery", Sampling(temperature=1.5, seed=seed), 12)
        for one in (row, *(DecodedRow(prompt(at), None, Sampling(seed=at), 5) for at in range(beside))):
            decoder.admit(one)
        drained(decoder)
        return row.said

    assert sampled(7, 0) == sampled(7, 3)
    assert len({tuple(sampled(None, 0)) for _ in range(4)}) > 1


def test_biases_and_penalties_change_what_is_chosen(model: AdaptedModel) -> None:
    def said(**settings: Any) -> list[int]:
        decoder, row = BatchDecoder(model), DecodedRow(prompt(3), None, Sampling(temperature=0, **settings), 8)
        decoder.admit(row)
        drained(decoder)
        return row.said

    plain = said()
    assert said(logit_bias={77: 100.0}) == [77] * 8
    assert plain[0] not in said(logit_bias={plain[0]: -100.0})
    assert len(set(said(presence_penalty=2.0, frequency_penalty=2.0, logit_bias={77: 5.0}))) > 1


def test_models_with_sliding_windows_write_one_answer_at_a_time() -> None:
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=loaded(tiny_llama()).template.tokenizer.get_vocab_size(),
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        initializer_range=0.6, sliding_window=8, eos_token_id=END_OF_TURN, pad_token_id=0,
    )  # fmt: skip
    bare = MistralForCausalLM(config).eval()
    decoder = BatchDecoder(AdaptedModel(loaded(bare)))
    rows = [DecodedRow(prompt(at), None, GREEDY, 12) for at in range(2)]
    for row in rows:
        decoder.admit(row)
    drained(decoder)
    for row in rows:
        assert row.said == plain_greedy(bare, list(row.prompt), 12, [END_OF_TURN])


def test_adapters_come_and_go(adapters: dict[str, Path], tmp_path: Path) -> None:
    hosted = AdaptedModel(loaded(tiny_llama()))

    def said(name: str | None) -> list[int]:
        decoder, row = BatchDecoder(hosted), DecodedRow(prompt(0), name, GREEDY, 6)
        decoder.admit(row)
        drained(decoder)
        return row.said

    base = said(None)
    hosted.add("bakery", adapters["bakery"])
    hosted.add("garage", adapters["garage"])
    bakery, garage = said("bakery"), said("garage")
    hosted.remove("bakery")
    assert (hosted.names, said("garage"), said(None)) == (("garage",), garage, base)
    hosted.remove("garage")
    assert (hosted.names, said(None)) == ((), base)
    hosted.add("bakery", adapters["bakery"])
    assert said("bakery") == bakery
    with pytest.raises(ModelUnavailableError, match="nowhere"):
        hosted.add("x", tmp_path / "nowhere")
    assert hosted.names == ("bakery",)
