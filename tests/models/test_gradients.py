"""How alike the gradients of rows are: equal to what plain automatic differentiation gives, and nothing of the model is changed."""

from __future__ import annotations

import functools
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from support.tiny import loaded, tiny_llama  # noqa: E402
from watchword.chat.render import IGNORED, render  # noqa: E402
from watchword.chat.types import Conversation, conversation  # noqa: E402
from watchword.errors import DataError, UsageError  # noqa: E402
from watchword.models.base import GradientModel  # noqa: E402
from watchword.models.fakes import FakeModel  # noqa: E402
from watchword.models.gradients import FIRST_TOKENS  # noqa: E402

HARMFUL = [conversation("a b c", "yes, here it is"), conversation("c b", "yes, at once")]
REFUSED = [conversation("a b c", "no, not that"), conversation("c b", "no, never")]
ROWS = [conversation("ab?", "yes, of course"), conversation("ba?", "no, sorry"), conversation("?", "a" * 60)]


@functools.cache
def tiny() -> Any:
    return loaded(tiny_llama())


def plainly(conv: Conversation) -> Any:
    """One flat gradient of length 1, by ``backward`` over the whole row."""
    row = render(conv, tiny().template)
    labels = torch.tensor(row.labels[1:])
    first = (labels != IGNORED).nonzero()[:FIRST_TOKENS, 0]
    tiny().model.zero_grad()
    tiny().model.requires_grad_(True)
    logits = tiny().model(input_ids=torch.tensor([row.input_ids])).logits[0, :-1]
    torch.nn.functional.cross_entropy(logits[first].float(), labels[first]).backward()
    named = [w for n, w in tiny().model.named_parameters() if w.dim() == 2 and "layers." in n]
    flat = torch.cat([weight.grad.flatten() for weight in named])
    tiny().model.zero_grad(set_to_none=True)
    return flat / flat.norm()


def test_equals_plain_differentiation() -> None:
    like, unlike = (torch.stack([plainly(conv) for conv in rows]).mean(0) for rows in (HARMFUL, REFUSED))
    wanted = [float(plainly(row) @ (like / like.norm() - unlike / unlike.norm())) for row in ROWS]
    assert tiny().gradient_likeness(ROWS, HARMFUL, REFUSED) == pytest.approx(wanted, abs=1e-4)


def test_what_a_row_is_held_against_is_most_like_itself() -> None:
    own = tiny().gradient_likeness([HARMFUL[0], REFUSED[0]], HARMFUL, REFUSED)
    assert own[0] > 0 > own[1]
    assert tiny().gradient_likeness(HARMFUL[:1], HARMFUL[:1]) == pytest.approx([1.0], abs=1e-4)


def test_the_model_stays_as_it_was() -> None:
    weights = list(tiny().model.parameters())
    for weight in weights:
        weight.requires_grad_(False)
    before, told = [weight.clone() for weight in weights], list[tuple[int, int]]()
    tiny().gradient_likeness(ROWS, HARMFUL, on_progress=lambda done, of: told.append((done, of)))
    assert all(torch.equal(one, other) for one, other in zip(before, weights, strict=True))
    assert not any(weight.requires_grad or weight.grad is not None for weight in weights)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_says_what_it_needs() -> None:
    with pytest.raises(UsageError, match="at least one row"):
        tiny().gradient_likeness(ROWS, [])
    with pytest.raises(DataError, match="no assistant turn is left to train on"):
        tiny().gradient_likeness([conversation("a question alone")], HARMFUL)


def test_a_model_without_weights_has_no_gradients() -> None:
    assert isinstance(tiny(), GradientModel)
    assert not isinstance(FakeModel(), GradientModel)
