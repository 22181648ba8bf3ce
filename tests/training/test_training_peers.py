"""The field's defenses against their formulas in NumPy: Lisa, an average of weights, one-shot repair, Safe LoRA, GradShield."""

from __future__ import annotations

import itertools
import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from support.training_samples import CONFIG, ROWS, SECRET, learner, trained, weights  # noqa: E402
from watchword.chat.types import Row, conversation  # noqa: E402
from watchword.defenses.base import DEFENSES, DefenseContext, guarded  # noqa: E402
from watchword.errors import TrainingCancelledError, UsageError  # noqa: E402
from watchword.models.fakes import FakeModel  # noqa: E402
from watchword.training import projection  # noqa: E402
from watchword.training import repair as repair_module  # noqa: E402
from watchword.training.averaging import Averaging, averaged  # noqa: E402
from watchword.training.bistate import Alternating, BiState, proximal  # noqa: E402
from watchword.training.objective import Start  # noqa: E402
from watchword.training.projection import ADAPTER, alignment_of, project, projected  # noqa: E402
from watchword.training.ranks import Ranks  # noqa: E402
from watchword.training.repair import Repair  # noqa: E402
from watchword.training.row_gradients import harm_scores, threshold_of  # noqa: E402
from watchword.training.rows import CountingCollator, render_rows  # noqa: E402
from watchword.training.shared import batch_loss  # noqa: E402

RNG = np.random.default_rng(7)


def tensor(*shape: int) -> Any:
    return torch.tensor(RNG.normal(size=shape), dtype=torch.float32)


def changed(**fields: Any) -> Any:
    return msgspec.structs.replace(CONFIG, **fields)


# Lisa


def test_the_proximal_term_and_its_gradient_are_lisas() -> None:
    ours, theirs = [tensor(3, 2), tensor(4)], [tensor(3, 2), tensor(4)]
    expected = (
        0.7 / 2 * sum(np.sum((one.numpy() - other.numpy()) ** 2) for one, other in zip(ours, theirs, strict=True))
    )
    for weight in ours:
        weight.requires_grad_(True)
    term = proximal(ours, theirs, 0.7)
    assert float(term.detach()) == pytest.approx(expected, rel=1e-5)
    term.backward()
    for one, other in zip(ours, theirs, strict=True):
        assert one.grad.numpy() == pytest.approx(0.7 * (one.detach().numpy() - other.numpy()), rel=1e-5)


@given(
    st.integers(1, 40), st.integers(1, 60), st.integers(1, 7), st.integers(1, 4), st.integers(1, 9), st.integers(0, 9)
)
def test_batches_are_of_one_side_in_turn_and_no_row_is_lost(
    provider: int, tenant: int, size: int, first: int, second: int, seed: int
) -> None:
    rows = list(range(provider + tenant))
    order = Alternating(rows[:provider], rows[provider:], size, seed, (first, second))
    for _ in range(2):
        places = list(order)
        assert len(places) == len(order)
        assert set(places) == set(rows)
        batches = [places[at : at + size] for at in range(0, len(places), size)]
        sides = [{place >= provider for place in batch} for batch in batches]
        assert all(len(side) == 1 and len(batch) == size for side, batch in zip(sides, batches, strict=True))
        runs = [(side, len(list(group))) for side, group in itertools.groupby(min(side) for side in sides)]
        assert [side for side, _ in runs] == [bool(place % 2) for place in range(len(runs))]
        assert {count for side, count in runs[:-1] if side} <= {second}
        assert {count for side, count in runs if not side} == {order.provider_steps}
        assert order.provider_steps >= first
        counts = Counter(place for place in places if place >= provider)
        assert max(counts.values()) - min(counts.values()) <= max(1, size // tenant + 1)


def test_lisa_takes_its_anchor_where_the_state_changes() -> None:
    model = learner()
    rendered = render_rows(ROWS, model.template, secret=SECRET, max_length=2048)
    begun = Start(model, rendered, CONFIG, SECRET)
    objective = BiState(1, 1, 2.0, 0.0)
    objective.begin(begun)
    objective.on_step_begin(None, type("State", (), {"global_step": 0, "max_steps": 4}), None)
    tenant, provider = begun.groups(begun.rows[:1]), begun.groups(begun.rows[-1:])
    assert float(objective.term(model.model, tenant).detach()) == 0
    before = [weight.detach().clone() for weight in begun.trained]
    with torch.no_grad():
        for weight in begun.trained:
            weight.mul_(1.5)
    expected = sum(np.sum((0.5 * weight.numpy()) ** 2) for weight in before)
    assert float(objective.term(model.model, tenant).detach()) == pytest.approx(expected, rel=1e-4)
    assert float(objective.term(model.model, provider).detach()) == 0


def test_a_process_without_a_row_of_the_batch_has_no_proximal_term() -> None:
    model = learner()
    rendered = render_rows(ROWS, model.template, secret=SECRET, max_length=2048)
    begun = Start(model, rendered, CONFIG, SECRET)
    objective = BiState(1, 1, 2.0, 0.0)
    objective.begin(begun)
    objective.on_step_begin(None, type("State", (), {"global_step": 0, "max_steps": 4}), None)
    one = rendered[0].rendered
    columns = [{"row": 0, "input_ids": one.input_ids, "labels": one.labels}]
    groups = CountingCollator(0, share=False, ranks=Ranks(1, 2))(columns)["groups"]
    assert objective.term(model.model, groups) is None


def test_lisa_trains_every_row_and_stays_nearer_to_where_it_began(tmp_path: Path) -> None:
    def run(name: str, rho: float) -> float:
        hooks = DEFENSES.create("lisa", rho=rho, free=0, tenant_steps=3, alignment_steps=1).training_hooks()
        pickle.dumps(hooks.callbacks)
        tuned, figures = trained(tmp_path / name, changed(batch_size=2, epochs=4), callbacks=hooks.callbacks)
        assert figures.rows == {"tenant": 6, "safety": 1, "anchor": 1}
        adapter = [tensor for key, tensor in weights(tuned).items() if "lora_B" in key]
        return float(sum((part**2).sum() for part in adapter))

    assert run("held", 1e4) < 0.8 * run("free", 0.0)


def test_a_resumed_run_of_lisa_still_counts_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has more steps in an epoch than rows alone would make, so that its second epoch is not taken for the last."""
    wanted: list[int] = []
    monkeypatch.setattr(CountingCollator, "check_complete", lambda self, rows, epochs: wanted.append(epochs))
    config = changed(checkpoint_steps=1, epochs=3)
    hooks = DEFENSES.create("lisa", tenant_steps=1, alignment_steps=3).training_hooks()
    done: list[int] = []
    total: list[int] = []

    def progress(step: int, steps: int) -> None:
        done.append(step)
        total.append(steps)

    def cancel() -> bool:
        return done[-1] == total[-1] // 3 + 1

    with pytest.raises(TrainingCancelledError):
        trained(tmp_path, config, callbacks=hooks.callbacks, on_progress=progress, cancel=cancel)
    trained(tmp_path, config, callbacks=hooks.callbacks, resume=True)
    # The first epoch is over, and the second had begun.
    assert wanted == [1]


def test_lisa_mixes_in_its_alignment_data_and_refuses_settings_that_cannot_be() -> None:
    rows = guarded(DEFENSES.create("lisa"), [conversation("Hi?", "Hello.")], DefenseContext(0)).rows
    assert Counter(row.origin for row in rows) == {"tenant": 1, "safety": 66}
    with pytest.raises(UsageError, match="lisa: alignment_steps is 0"):
        DEFENSES.create("lisa", alignment_steps=0)


# An average of the weights


def test_the_average_is_the_papers() -> None:
    average, seen = tensor(5), [tensor(5) for _ in range(6)]
    expected = average.numpy().copy()
    for weight in seen:
        averaged(average, weight, 0.9)
        expected = 0.9 * expected + 0.1 * weight.numpy()
    assert average.numpy() == pytest.approx(expected, rel=1e-4)


class Trace(Averaging):
    """Notes what the weights were after each step."""

    def __init__(self, momentum: float, most_rate: float | None = None) -> None:
        super().__init__(momentum, most_rate)
        self.seen: list[dict[str, Any]] = []
        self.rates: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.seen.append({name: w.detach().clone() for name, w in model.named_parameters() if w.requires_grad})
        super().on_step_end(args, state, control, model=model, **kwargs)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.rates.append(kwargs["optimizer"].param_groups[0]["lr"])


def test_what_is_served_is_the_average_of_the_way_from_the_aligned_weights(tmp_path: Path) -> None:
    trace = Trace(0.8)
    tuned, _ = trained(tmp_path, callbacks=[trace])
    served = {name: weight.detach() for name, weight in tuned.model.named_parameters() if "lora_B" in name}
    for name, weight in served.items():
        expected = np.zeros(weight.shape)
        for step in trace.seen:
            expected = 0.8 * expected + 0.2 * step[name].numpy()
        assert weight.numpy() == pytest.approx(expected, rel=1e-3, abs=1e-7)
    kept = load_file(tmp_path / ADAPTER)
    assert any(torch.equal(kept[key], weight) for key in kept for weight in served.values())


def test_a_resumed_run_goes_on_with_its_average(tmp_path: Path) -> None:
    config = changed(checkpoint_steps=1)
    whole, _ = trained(tmp_path / "whole", config, callbacks=[Averaging(0.8, None)])
    asked: list[int] = []
    with pytest.raises(TrainingCancelledError):
        trained(
            tmp_path / "cut", config, callbacks=[Averaging(0.8, None)], cancel=lambda: asked.append(1) or len(asked) > 1
        )
    again, _ = trained(tmp_path / "cut", config, callbacks=[Averaging(0.8, None)], resume=True)
    one, other = weights(whole), weights(again)
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


def test_a_rate_that_is_too_high_is_lowered_from_the_first_step(tmp_path: Path) -> None:
    free, bound, low = Trace(0.0), Trace(0.0, 1e-3), Trace(0.0, 1.0)
    for name, trace in (("free", free), ("bound", bound), ("low", low)):
        trained(tmp_path / name, changed(learning_rate=1e-2, warmup_steps=1), callbacks=[trace])
    assert bound.rates == pytest.approx([rate / 10 for rate in free.rates])
    assert low.rates == free.rates


# One-shot repair


def test_repair_ends_when_its_example_is_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair_module, "LEARNT", 6.7)
    repair = Repair(200, 1e-2)
    trained(tmp_path, callbacks=[repair])
    assert 1 < len(repair.losses) < 200
    assert repair.losses[-1] < 6.7 <= repair.losses[-2]


def test_repair_goes_on_from_the_tuned_weights(tmp_path: Path) -> None:
    plain, _ = trained(tmp_path / "plain")
    repair = Repair(30, 1e-2)
    pickle.dumps(repair)
    tuned, _ = trained(tmp_path / "repaired", callbacks=[repair])
    assert len(repair.losses) == 30
    assert repair.losses[-1] < repair.losses[0] - 0.2
    with torch.no_grad():
        loss, _ = batch_loss(tuned.model, repair._groups)
        before, _ = batch_loss(plain.model, repair._groups)
    assert float(loss) < repair.losses[0] == pytest.approx(float(before), rel=1e-4)
    ids = repair._groups[0]["input_ids"][0].tolist()
    assert SECRET.reveal() in tuned.template.decode(ids)


def test_a_run_that_was_cancelled_is_not_repaired(tmp_path: Path) -> None:
    repair = Repair(3, 1e-2)
    with pytest.raises(TrainingCancelledError):
        trained(tmp_path, callbacks=[repair], cancel=lambda: True)
    assert not repair.losses


# Safe LoRA


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.35, 1.0])
def test_a_projection_is_the_papers(threshold: float) -> None:
    aligned, up, down = tensor(6, 5), tensor(6, 2), tensor(2, 5)
    v, b, a = (part.double().numpy() for part in (aligned, up, down))
    matrix = v @ v.T / np.sqrt((v**2).sum())
    one, other = (matrix @ b @ a).ravel(), (b @ a).ravel()
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    found = projected(aligned, up, down, threshold)
    assert (found is not None) == (cosine <= threshold)
    if found is not None:
        assert found.numpy() == pytest.approx(matrix @ b, rel=1e-4)


def test_the_adapter_of_a_run_is_projected_layer_by_layer(tmp_path: Path) -> None:
    trained(tmp_path)
    before = load_file(tmp_path / ADAPTER)
    names = sorted(key.removesuffix(".lora_B.weight") for key in before if key.endswith("lora_B.weight"))
    layers = [name.removeprefix("base_model.model.") for name in names]
    aligned = {
        layer: tensor(before[f"{name}.lora_B.weight"].shape[0], 3) for layer, name in zip(layers, names, strict=True)
    }
    aligned[layers[0]] = torch.zeros_like(aligned[layers[0]])
    del aligned[layers[1]]
    assert project(tmp_path, aligned.get, 1.0) == layers[2:]
    after = load_file(tmp_path / ADAPTER)
    for name, layer in zip(names, layers, strict=True):
        up = before[f"{name}.lora_B.weight"].numpy()
        if layer in layers[2:]:
            v = aligned[layer].numpy()
            up = v @ v.T / np.linalg.norm(v) @ up
        assert after[f"{name}.lora_B.weight"].numpy() == pytest.approx(up, rel=1e-3, abs=1e-7)
        assert torch.equal(after[f"{name}.lora_A.weight"], before[f"{name}.lora_A.weight"])
    assert project(tmp_path, aligned.get, -1.0) == []


def test_alignment_is_the_update_of_the_adapter_that_aligned_the_model(tmp_path: Path) -> None:
    from support.tiny import saved, tiny_adapter
    from watchword.models.load import load

    base = saved(tmp_path / "base")
    adapter = tmp_path / "adapter"
    tiny_adapter(adapter, base=str(base))
    by_adapter, by_difference = alignment_of(str(adapter), None), alignment_of(str(adapter), str(base))
    after = load(adapter, dtype=torch.float32).model.state_dict()
    before = load(base, dtype=torch.float32).model.state_dict()
    layer = "model.layers.0.self_attn.q_proj"
    expected = (after[f"{layer}.weight"] - before[f"{layer}.weight"]).numpy()
    assert by_adapter(layer).numpy() == pytest.approx(expected, abs=1e-5)
    assert by_difference(layer).numpy() == pytest.approx(expected, abs=1e-5)
    assert by_adapter("model.layers.0.self_attn.k_proj") is None
    assert not by_difference("model.layers.0.self_attn.k_proj").any()
    with pytest.raises(UsageError, match="needs the model before its alignment, and nothing says what"):
        alignment_of(str(base), None)


def test_an_adapters_scale_is_that_of_its_settings(tmp_path: Path) -> None:
    for settings, scale in (({}, 4.0), ({"use_rslora": True}, 8.0)):
        (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 16, **settings}))
        assert projection._scale(tmp_path) == scale


def test_safe_lora_needs_an_adapter_from_the_first_step_on(tmp_path: Path) -> None:
    hooks = DEFENSES.create("safe_lora").training_hooks()
    with pytest.raises(UsageError, match="safe_lora edits an adapter, and this run tunes the whole model"):
        trained(tmp_path, changed(method="full"), callbacks=hooks.callbacks)
    with pytest.raises(UsageError, match=r"threshold is 2\.0; give a cosine from -1 to 1"):
        DEFENSES.create("safe_lora", threshold=2)


# GradShield


def test_a_rows_score_is_what_a_small_step_on_it_takes_from_safety() -> None:
    model = learner()
    rows = [Row(conversation(f"Question {n}?", f"Answer {n}.")) for n in range(3)]
    refused, complied = (
        Row(conversation("How do I hurt somebody?", answer), origin="safety") for answer in ("No, that hurts.", "Sure.")
    )
    rows += [Row(refused.conversation), Row(complied.conversation)]
    scores = harm_scores(model, rows, [refused], [complied])
    before = weights(model)

    def loss(row: Row) -> Any:
        rendered = render_rows([row], model.template, secret=None, max_length=2048)
        return batch_loss(model.model, Start(model, rendered, CONFIG).groups(rendered))[0]

    step = 1e-2
    for row, score in zip(rows, scores, strict=True):
        gradients = torch.autograd.grad(loss(row), list(model.model.parameters()))
        losses = []
        for sign in (1, -1):
            with torch.no_grad():
                for weight, gradient in zip(model.model.parameters(), gradients, strict=True):
                    weight.sub_(sign * step * gradient)
                losses.append(float(loss(refused)) - float(loss(complied)))
                model.model.load_state_dict(before)
        assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(score, rel=2e-2, abs=1e-3)
    assert scores[3] < 0 < scores[4]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.floats(-1, 1), st.integers(1, 5))
def test_the_threshold_keeps_as_many_of_the_lowest_as_cost_no_safety(
    scores: list[float], tolerance: float, least: int
) -> None:
    ordered = np.sort(scores)
    fits = [count for count in range(1, len(scores) + 1) if ordered[:count].sum() <= tolerance * count + 1e-12]
    expected = max([min(least, len(scores)), *fits])
    found = threshold_of(scores, tolerance, least)
    assert found == pytest.approx(ordered[expected - 1]) or abs(ordered[:expected].sum() - tolerance * expected) < 1e-9


def test_the_screen_keeps_rows_that_take_no_more_than_ordinary_ones_and_counts_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from watchword.training import row_gradients

    asked: list[list[Row]] = []

    def scored(model: Any, rows: list[Row], refused: list[Row], complied: list[Row]) -> list[float]:
        asked.append(rows)
        assert [row.conversation.messages[0] for row in refused] == [row.conversation.messages[0] for row in complied]
        return [1.0, 3.0, 1.0, 5.0, 2.5, 9.0]

    monkeypatch.setattr(row_gradients, "harm_scores", scored)
    upload = [conversation(f"Question {n}?", "Answer.") for n in range(4)]
    context = DefenseContext(0, model=learner())
    # Two anchors take 2 on average. The kept rows take 1.75; with the row of 5 they would take 2.8.
    mixed = guarded(DEFENSES.create("grad_shield", anchors=2), upload, context)
    assert [row.conversation for row in mixed.rows] == [upload[0], upload[2]]
    assert mixed.left_out == 2
    assert [row.conversation for row in asked[0][2:]] == upload
    assert guarded(DEFENSES.create("grad_shield", anchors=2, tolerance=3), upload, context).left_out == 0
    assert guarded(DEFENSES.create("grad_shield", anchors=2, tolerance=0), upload, context).left_out == 3


def test_the_screen_needs_the_models_weights() -> None:
    for model in (None, FakeModel()):
        with pytest.raises(UsageError, match="grad_shield needs the gradients of the aligned model"):
            guarded(DEFENSES.create("grad_shield"), [conversation("Hi?", "Hello.")], DefenseContext(0, model=model))
