"""MasterAdamW is torch's AdamW in float32, and in bfloat16 keeps what bfloat16 would round away."""

from __future__ import annotations

import io
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from watchword.training.optimizer import MasterAdamW  # noqa: E402

SETTINGS = {"lr": 1e-2, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1}


def parameter(dtype: Any = torch.float32) -> Any:
    torch.manual_seed(0)
    return torch.nn.Parameter(torch.randn(7, 5).to(dtype))


def run(optimizer: Any, weight: Any, steps: int, start: int = 0) -> None:
    for step in range(start, start + steps):
        torch.manual_seed(step)
        weight.grad = torch.randn(7, 5).to(weight.dtype)
        optimizer.step()


def test_equals_torch_in_float32() -> None:
    ours, theirs = parameter(), parameter()
    run(MasterAdamW([ours], **SETTINGS), ours, 20)
    run(torch.optim.AdamW([theirs], **SETTINGS), theirs, 20)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_small_updates_add_up_in_bfloat16() -> None:
    ours, theirs = (torch.nn.Parameter(torch.ones(1, dtype=torch.bfloat16)) for _ in range(2))
    for weight, kind in ((ours, MasterAdamW), (theirs, torch.optim.AdamW)):
        optimizer = kind([weight], lr=1e-4, weight_decay=0.0)
        for _ in range(100):
            weight.grad = torch.ones_like(weight)
            optimizer.step()
    # 100 steps of 1e-4; one of them alone is below bfloat16's 1/256.
    assert ours.item() == pytest.approx(0.99, abs=0.004)
    assert theirs.item() == 1.0


def test_a_saved_state_goes_on_exactly() -> None:
    whole = parameter(torch.bfloat16)
    run(MasterAdamW([whole], **SETTINGS), whole, 10)
    part = parameter(torch.bfloat16)
    first = MasterAdamW([part], **SETTINGS)
    run(first, part, 5)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    again = torch.nn.Parameter(part.detach().clone())
    second = MasterAdamW([again], **SETTINGS)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert second.state[again]["master"].dtype == torch.float32
    run(second, again, 5, start=5)
    assert torch.equal(again, whole)


def test_a_weight_without_a_gradient_stays() -> None:
    weight, other = parameter(), parameter()
    optimizer = MasterAdamW([weight, other], **SETTINGS)
    before = other.detach().clone()
    run(optimizer, weight, 2)
    assert torch.equal(other, before)


def test_a_closure_gives_the_loss() -> None:
    weight = parameter()
    weight.grad = torch.ones_like(weight)
    assert MasterAdamW([weight], **SETTINGS).step(lambda: 2.5) == 2.5
