"""A run that is broken off and resumed ends where an uninterrupted one does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch")

from support.training_samples import CONFIG, learner, trained, weights  # noqa: E402
from watchword.errors import LostRowError  # noqa: E402
from watchword.training.checkpoints import newest_checkpoint  # noqa: E402
from watchword.training.rows import Batches  # noqa: E402

KEPT = msgspec.structs.replace(CONFIG, checkpoint_steps=1)


class StoppedError(Exception):
    """Stands in for whatever ends a process."""


def stop_at(step: int) -> Any:
    def progress(done: int, total: int) -> None:
        if done == step:
            raise StoppedError

    return progress


def broken_off(out: Path, step: int, config: Any = KEPT) -> None:
    # Progress is told before the step's checkpoint is written, so the newest one is of the step before.
    with pytest.raises(StoppedError):
        trained(out, config, on_progress=stop_at(step))


@pytest.mark.parametrize(
    ("method", "dtype", "step"),
    [("lora", torch.bfloat16, 4), ("full", torch.bfloat16, 3), ("lora", torch.float32, 3)],
    ids=["lora within an epoch", "full at an epoch's end", "lora in float32"],
)
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path: Path, method: str, dtype: Any, step: int) -> None:
    config = msgspec.structs.replace(KEPT, method=method)
    whole, figures = trained(tmp_path / "whole", config, model=learner(dtype))
    with pytest.raises(StoppedError):
        trained(tmp_path / "parts", config, model=learner(dtype), on_progress=stop_at(step))
    resumed, again = trained(tmp_path / "parts", config, model=learner(dtype), resume=True)
    assert again.loss == pytest.approx(figures.loss, abs=1e-5)
    expected, found = weights(whole), weights(resumed)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)


def test_a_run_that_was_stopped_after_its_last_checkpoint_keeps_its_curve(tmp_path: Path) -> None:
    _, figures = trained(tmp_path, KEPT)
    _, again = trained(tmp_path, KEPT, resume=True)
    assert again.loss == pytest.approx(figures.loss)
    assert again.steps == figures.steps


def test_a_checkpoint_that_was_cut_off_is_not_trusted(tmp_path: Path) -> None:
    broken_off(tmp_path, 4)
    assert newest_checkpoint(tmp_path) == str(tmp_path / "checkpoint-3")
    (tmp_path / "checkpoint-3" / "trainer_state.json").write_text('{"log_history": [')
    assert newest_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
    (tmp_path / "checkpoint-2" / "trainer_state.json").unlink()
    assert newest_checkpoint(tmp_path) is None


def test_numbers_order_checkpoints(tmp_path: Path) -> None:
    for step in (9, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert newest_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")


def test_resuming_without_a_checkpoint_starts_at_the_beginning(tmp_path: Path) -> None:
    _, figures = trained(tmp_path, resume=True)
    assert len(figures.loss) == 4


def test_rows_are_counted_after_a_resume_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_off(tmp_path, 3)
    monkeypatch.setattr(Batches, "__iter__", lambda self: iter([0, 1, 2, 3, 4, 5, 6, 6]))
    with pytest.raises(LostRowError, match=r"\{'anchor': 1\} rows did not reach the trainer"):
        trained(tmp_path, KEPT, resume=True)
