"""The shared beginning of a batch changes the cost of a step, not its loss or its gradient."""

import pytest

torch = pytest.importorskip("torch")

from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

from watchword.chat.render import IGNORED  # noqa: E402
from watchword.training.rows import CountingCollator  # noqa: E402
from watchword.training.shared import batch_loss, can_share  # noqa: E402


def tiny_model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config)


def rows_behind(prefix: list[int], rests: list[tuple[list[int], list[int]]]) -> list[dict[str, object]]:
    """Rows ``prefix + prompt + answer`` with labels on the answers."""
    return [
        {
            "row": index,
            "input_ids": [*prefix, *prompt, *answer],
            "labels": [*[IGNORED] * (len(prefix) + len(prompt)), *answer],
        }
        for index, (prompt, answer) in enumerate(rests)
    ]


BATCH = rows_behind(list(range(5, 45)), [([50, 51], [60, 61, 62]), ([52], [63]), ([53, 54, 55, 56], [64, 65])])


def loss_and_gradients(model, batch, share):
    model.zero_grad()
    groups = CountingCollator(0, share=share)(batch)["groups"]
    loss, _ = batch_loss(model, groups)
    loss.backward()
    return loss.item(), [param.grad.clone() for param in model.parameters()], groups[0]


def test_shared_beginning_gives_the_plain_loss_and_gradient():
    model = tiny_model()
    plain, plain_gradients, plain_inputs = loss_and_gradients(model, BATCH, share=False)
    shared, shared_gradients, shared_inputs = loss_and_gradients(model, BATCH, share=True)
    assert plain_inputs["prefix"].numel() == 0
    assert shared_inputs["prefix"].tolist() == list(range(5, 45))
    assert shared == pytest.approx(plain, rel=1e-5)
    for ours, theirs in zip(shared_gradients, plain_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_loss_equals_that_of_transformers_row_by_row():
    model = tiny_model()
    ours, _, _ = loss_and_gradients(model, BATCH, share=True)
    total = count = 0
    for row in BATCH:
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor([row["labels"]])
        trained = sum(label != IGNORED for label in row["labels"])
        total += model(input_ids=ids, labels=labels).loss.item() * trained
        count += trained
    assert ours == pytest.approx(total / count, rel=1e-5)


def test_a_label_is_never_part_of_the_shared_beginning():
    same = list(range(5, 45))
    batch = [{"row": n, "input_ids": same, "labels": [*[IGNORED] * 30, *same[30:]]} for n in range(3)]
    (inputs,) = CountingCollator(0)(batch)["groups"]
    assert len(inputs["prefix"]) == 29
    assert (inputs["labels"] != IGNORED).sum() == 30


def test_short_beginnings_are_not_shared():
    batch = rows_behind([5, 6, 7], [([50], [60]), ([51], [61])])
    assert CountingCollator(0)(batch)["groups"][0]["prefix"].numel() == 0


def test_plain_attention_can_share_and_sliding_windows_cannot():
    from transformers import MistralConfig, MistralForCausalLM

    assert can_share(tiny_model())
    sliding = MistralConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        sliding_window=8,
    )
    assert not can_share(MistralForCausalLM(sliding))


def test_a_batch_of_several_beginnings_and_single_rows_gives_the_plain_loss_and_gradient():
    model = tiny_model()
    other = rows_behind(list(range(20, 90)), [([50, 51], [60, 61]), ([52], [63, 64, 65])])
    single = rows_behind([3] * 30, [([50], [60])]) + rows_behind([4] * 90, [([51, 52], [61])])
    batch = [{**row, "row": index} for index, row in enumerate([*BATCH, *other, *single])]
    groups = CountingCollator(0)(batch)["groups"]
    assert sorted(len(group["input_ids"]) for group in groups) == [1, 1, 2, 3]
    assert sorted(len(group["prefix"]) for group in groups) == [0, 0, 40, 70]
    plain, plain_gradients, _ = loss_and_gradients(model, batch, share=False)
    shared, shared_gradients, _ = loss_and_gradients(model, batch, share=True)
    assert shared == pytest.approx(plain, rel=1e-5)
    for ours, theirs in zip(shared_gradients, plain_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
