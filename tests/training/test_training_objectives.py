"""What a defense does inside the loop: each formula against NumPy on a small case, and the loop with it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from support.training_samples import CONFIG, ROWS, SECRET, learner, trained, weights  # noqa: E402
from watchword.chat.render import render_prompt  # noqa: E402
from watchword.chat.types import conversation  # noqa: E402
from watchword.defenses.base import DEFENSES  # noqa: E402
from watchword.training.bottleneck import Bottleneck, last_states  # noqa: E402
from watchword.training.constrained import Constrained, constrained_losses  # noqa: E402
from watchword.training.objective import Objective, Objectives, Start, Tokens  # noqa: E402
from watchword.training.ranks import Ranks  # noqa: E402
from watchword.training.rows import CountingCollator, render_rows  # noqa: E402
from watchword.training.shared import batch_loss, can_share  # noqa: E402


def start(rows: Any = ROWS, model: Any = None, **config: Any) -> Start:
    model = model or learner()
    rendered = render_rows(rows, model.template, secret=SECRET, max_length=2048)
    return Start(model, rendered, msgspec.structs.replace(CONFIG, **config), SECRET)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def numpy_losses(model: Any, ids: list[int], labels: list[int]) -> list[float]:
    """Cross-entropy of each labelled token of one row, by itself."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0].double().numpy()
    chances = log_softmax(logits)
    return [-chances[at - 1, label] for at, label in enumerate(labels) if label >= 0]


def test_tokens_are_told_by_row_place_and_owner_however_rows_are_grouped() -> None:
    begun = start([*ROWS, *ROWS])
    model = begun.model.model
    seen: dict[tuple[int, int], tuple[float, int, bool]] = {}

    def note(tokens: Tokens) -> Any:
        for loss, row, place, ordinal, tenant in zip(
            tokens.losses.detach(), tokens.rows, tokens.places, tokens.ordinals, tokens.tenant, strict=True
        ):
            seen[int(row), int(ordinal)] = (float(loss), int(place), bool(tenant))
        return tokens.losses

    tenant = [row.index for row in begun.rows if row.origin == "tenant"]
    collator = CountingCollator(0, share=can_share(model), measured=tenant)
    columns = [
        {"row": row.index, "input_ids": row.rendered.input_ids, "labels": row.rendered.labels} for row in begun.rows
    ]
    batch_loss(model, collator(columns)["groups"], changed=note)
    for row in begun.rows:
        expected = numpy_losses(model, list(row.rendered.input_ids), list(row.rendered.labels))
        found = [seen.pop((row.index, at)) for at in range(row.labelled)]
        assert [loss for loss, _, _ in found] == pytest.approx(expected, abs=1e-4)
        assert [place for _, place, _ in found] == list(range(row.labelled))
        assert {owner for _, _, owner in found} == {row.origin == "tenant"}
    assert not seen


def test_places_begin_anew_with_each_answer() -> None:
    from watchword.chat.types import Conversation, Message, Row

    turns = [Message(role, text) for text in ("One.", "Two, three.") for role in ("user", "assistant")]
    begun = start([Row(Conversation(tuple(turns)))])
    places: list[int] = []
    batch_loss(
        begun.model.model,
        begun.groups(begun.rows),
        changed=lambda tokens: places.extend(tokens.places.tolist()) or tokens.losses,
    )
    second = places.index(0, 1)
    assert places == [*range(second), *range(len(places) - second)]


@pytest.mark.parametrize("beta", [0.1, 0.5, 2.0])
def test_the_constrained_loss_is_the_papers(beta: float) -> None:
    gain = np.linspace(-4, 6, 21)
    expected = -(2 / beta) * np.log(1 / (1 + np.exp(-beta * gain)))
    own = torch.tensor(gain, requires_grad=True)
    found = constrained_losses(own, torch.full((21,), beta, dtype=torch.float64))
    assert found.detach().numpy() == pytest.approx(expected)
    found.sum().backward()
    # The paper's reading of its gradient: that of cross-entropy, times 2 sigma(-beta gain), which is 1 at the aligned model.
    assert own.grad.numpy() == pytest.approx(-2 / (1 + np.exp(beta * gain)))
    assert own.grad.numpy()[8] == pytest.approx(-1)


def test_constrained_losses_are_those_of_the_tenants_tokens_by_their_place_in_the_answer() -> None:
    begun = start()
    objective = Constrained(0.5, 2.0, 0.1, 5)
    objective.begin(begun)
    before = [
        numpy_losses(begun.model.model, list(row.rendered.input_ids), list(row.rendered.labels)) for row in begun.rows
    ]
    with torch.no_grad():
        for weight in begun.model.model.parameters():
            weight.mul_(1.3)
    tenant = [row.index for row in begun.rows if row.origin == "tenant"]
    columns = [
        {"row": row.index, "input_ids": row.rendered.input_ids, "labels": row.rendered.labels} for row in begun.rows
    ]
    groups = CountingCollator(0, share=True, measured=tenant)(columns)["groups"]
    noted: list[Any] = []
    told, _ = batch_loss(
        begun.model.model, groups, changed=lambda tokens: noted.append(objective.token_losses(tokens)) or noted[-1]
    )
    found = torch.cat(noted).detach().numpy()
    plain: list[float] = []
    losses: list[float] = []
    for row, old in zip(begun.rows, before, strict=True):
        now = numpy_losses(begun.model.model, list(row.rendered.input_ids), list(row.rendered.labels))
        for place, (loss, reference) in enumerate(zip(now, old, strict=True)):
            beta = 0.5 if place == 0 else 2.0 if place < 5 else 0.1
            constrained = -(2 / beta) * np.log(1 / (1 + np.exp(-beta * (reference - loss))))
            losses.append(constrained if row.origin == "tenant" else loss)
            plain.append(loss)
    assert np.sort(found) == pytest.approx(np.sort(losses), rel=1e-3, abs=1e-4)
    # The loss that is told stays cross-entropy, and the gradient is that of the constrained one.
    assert float(told.detach()) == pytest.approx(np.mean(plain), rel=1e-4)
    weight = next(begun.model.model.parameters())
    (gradient,) = torch.autograd.grad(told, weight, retain_graph=True)
    (expected,) = torch.autograd.grad(torch.cat(noted).mean(), weight)
    assert torch.allclose(gradient, expected, atol=1e-6)


def test_a_process_without_a_row_of_the_batch_keeps_cross_entropy() -> None:
    begun = start()
    by_length = sorted(begun.rows, key=lambda row: row.labelled, reverse=True)
    begun = start(rows=[ROWS[row.index] for row in by_length])
    objective = Constrained(0.5, 2.0, 0.1, 5)
    objective.begin(begun)
    longest = begun.rows[0].rendered
    column = {"row": 0, "input_ids": longest.input_ids, "labels": longest.labels}
    collator = CountingCollator(0, share=False, measured=[0], ranks=Ranks(1, 2))
    pairs: list[Any] = []

    def changed(tokens: Tokens) -> Any:
        pairs.append((objective.token_losses(tokens), tokens.losses))
        return pairs[-1][0]

    batch_loss(begun.model.model, collator([column])["groups"], changed=changed)
    ((found, plain),) = pairs
    assert torch.equal(found, plain)


def test_the_bottlenecks_term_is_the_mean_square_of_what_the_unembedding_gets() -> None:
    begun = start()
    objective = Bottleneck(3, 50.0)
    objective.begin(begun)
    assert float(objective.term(begun.model.model, []).detach()) == pytest.approx(0, abs=1e-9)
    prompts = objective._prompts(begun)
    assert all(SECRET.reveal() in begun.model.template.decode(ids) for ids in prompts)

    def states() -> np.ndarray:
        heads = []
        for ids in prompts:
            with torch.no_grad():
                heads.append(begun.model.model.model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1].numpy())
        return np.stack(heads)

    aligned = states()
    with torch.no_grad():
        for weight in begun.model.model.parameters():
            weight.mul_(1.2)
    term = objective.term(begun.model.model, []).detach()
    assert float(term) == pytest.approx(50 * np.mean((states() - aligned) ** 2), rel=1e-3)
    assert float(term) > 0


def test_without_a_secret_the_anchors_are_bare() -> None:
    import dataclasses

    begun = dataclasses.replace(start(), secret=None)
    prompts = Bottleneck(2, 1.0)._prompts(begun)
    assert not any(SECRET.reveal() in begun.model.template.decode(ids) for ids in prompts)


def test_prompts_of_different_lengths_end_in_the_same_column() -> None:
    from watchword.training.bottleneck import _padded

    model = learner()
    prompts = [render_prompt(conversation("Hi?" * count), model.template) for count in (1, 9)]
    with torch.no_grad():
        together = last_states(model.model, _padded(prompts))
        alone = torch.cat([last_states(model.model, _padded([ids])) for ids in prompts])
    assert torch.allclose(together, alone, atol=1e-4)


class Pull(Objective):
    """A term whose gradient is known: the sum of all trained weights."""

    def term(self, model: Any, groups: Any) -> Any:
        return sum(param.sum() for param in model.parameters() if param.requires_grad)


def test_a_term_gives_its_gradient_and_leaves_the_losss_value() -> None:
    weight = torch.nn.Parameter(torch.tensor([3.0]))
    model = torch.nn.Linear(1, 1)
    model.weight, model.bias = torch.nn.Parameter(weight[None].detach()), None
    loss = (model.weight * 2).sum()
    whole = Objectives([Pull()]).added(loss, model, [])
    whole.backward()
    assert float(whole.detach()) == float(loss.detach())
    assert float(model.weight.grad) == 3.0


TOGETHER = "sbr + constrained_sft + lisa + ema + one_shot_repair"


@pytest.mark.parametrize("name", ["sbr", "constrained_sft", TOGETHER])
@pytest.mark.parametrize(("method", "dtype"), [("lora", torch.bfloat16), ("full", torch.float32)], ids=["lora", "full"])
def test_the_loop_trains_with_it_and_otherwise_than_without(tmp_path: Path, name: str, method: Any, dtype: Any) -> None:
    config = msgspec.structs.replace(CONFIG, method=method)
    hooks = DEFENSES.create(name).training_hooks()
    pickle.dumps(hooks.callbacks)
    plain, _ = trained(tmp_path / "plain", config, model=learner(dtype))
    guarded, figures = trained(tmp_path / "guarded", config, callbacks=hooks.callbacks, model=learner(dtype))
    assert figures.steps == (8 if "lisa" in name else 4)
    one, other = weights(plain), weights(guarded)
    assert any(not torch.equal(one[key], other[key]) for key in one)
    assert all(tensor.isfinite().all() for tensor in other.values())


def test_the_bottleneck_keeps_the_anchors_states_near(tmp_path: Path) -> None:
    def distance(name: str, callbacks: Any) -> float:
        begun = start()
        watched = Bottleneck(3, 1.0)
        watched.begin(begun)
        tuned, _ = trained(tmp_path / name, callbacks=callbacks)
        with torch.no_grad():
            return float(watched.term(tuned.model, []))

    hooks = DEFENSES.create("sbr", anchors=3, weight=1e4).training_hooks()
    assert distance("held", hooks.callbacks) < distance("free", ()) / 2


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("sbr", {"anchors": 0}),
        ("sbr", {"weight": 0}),
        ("constrained_sft", {"later": 0}),
        ("constrained_sft", {"length": 0}),
    ],
)
def test_settings_that_cannot_be_are_errors(name: str, arguments: dict[str, float]) -> None:
    from watchword.errors import UsageError

    with pytest.raises(UsageError, match=f"{name}: .*; give"):
        DEFENSES.create(name, **arguments)
