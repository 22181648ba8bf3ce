"""The fine-tuning loop on a model of a few thousand weights: it learns, repeats, and refuses to end badly in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch")

from safetensors import SafetensorError  # noqa: E402

from support.training_samples import CONFIG, ROWS, learner, trained, weights  # noqa: E402
from watchword.chat.types import Row, conversation  # noqa: E402
from watchword.errors import DivergedError, LostRowError, OutputError  # noqa: E402
from watchword.training import loop  # noqa: E402
from watchword.training.rows import Batches  # noqa: E402

STEPS = 2 * 2


def changed(**fields: Any) -> Any:
    return msgspec.structs.replace(CONFIG, **fields)


@pytest.mark.parametrize(("method", "dtype"), [("lora", torch.bfloat16), ("full", torch.float32)], ids=["lora", "full"])
def test_the_loss_falls(tmp_path: Path, method: str, dtype: Any) -> None:
    _, figures = trained(tmp_path, changed(method=method, epochs=6, learning_rate=2e-2), model=learner(dtype))
    assert len(figures.loss) == figures.steps == 6 * 2
    assert figures.loss[-1] < figures.loss[0] - 0.5


def test_figures_count_rows_steps_and_tokens(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    _, figures = trained(tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    assert figures.rows == {"tenant": 6, "safety": 1, "anchor": 1}
    assert seen == [(step, STEPS) for step in range(1, STEPS + 1)]
    assert figures.tokens > 0
    assert figures.tokens_per_second == pytest.approx(figures.tokens / figures.seconds)


def test_lora_leaves_an_adapter_and_the_base_as_it_was(tmp_path: Path) -> None:
    model = learner()
    before = weights(model)
    tuned, _ = trained(tmp_path, changed(epochs=1), model=model)
    assert {path.name for path in tmp_path.iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    after = weights(tuned.without_adapter())
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_full_leaves_a_folder_that_loads_by_itself(tmp_path: Path) -> None:
    from watchword.models.load import load

    tuned, _ = trained(tmp_path, changed(method="full", epochs=1))
    again = load(tmp_path, dtype=torch.float32)
    assert again.template.digest == tuned.template.digest
    expected, found = weights(tuned), weights(again)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_seed_repeats_and_another_does_not(tmp_path: Path) -> None:
    runs = [
        trained(tmp_path / name, changed(seed=seed, epochs=1))[1].loss for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert runs[0] == runs[1] != runs[2]


def test_a_nan_ends_the_run(tmp_path: Path) -> None:
    model = learner()
    with torch.no_grad():
        model.model.lm_head.weight[5, 5] = float("nan")
    with pytest.raises(
        DivergedError, match=r"the loss went from nan to nan at step 1; lower the learning rate \(it is 0.01\)"
    ):
        trained(tmp_path, model=model)
    assert not list(tmp_path.glob("*.safetensors"))


def test_an_exploding_loss_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"at step .*; lower the learning rate"):
        trained(tmp_path, changed(learning_rate=1e3, epochs=6))
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_row_that_the_trainer_drops_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Batches, "__iter__", lambda self: iter([0, 1, 2, 3, 4, 5, 6, 6]))
    with pytest.raises(LostRowError, match=r"\{'anchor': 1\} rows did not reach the trainer in each of 2 epochs"):
        trained(tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("No space left on device")])
def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(loop._Trainer, "_save_checkpoint", full)
    with pytest.raises(OutputError, match="cannot be written: No space left on device; choose a folder with room"):
        trained(tmp_path, changed(checkpoint_steps=2))


def test_a_defenses_callback_is_called(tmp_path: Path) -> None:
    from transformers import TrainerCallback

    class Count(TrainerCallback):
        steps = 0

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            self.steps += 1

    count = Count()
    trained(tmp_path, changed(epochs=1), callbacks=[count])
    assert count.steps == 2


def test_one_row_is_enough(tmp_path: Path) -> None:
    _, figures = trained(tmp_path, rows=[Row(conversation("Hi", "Hello"))])
    assert figures.steps == 2


def test_training_keeps_the_rows_it_was_given(tmp_path: Path) -> None:
    before = msgspec.json.encode(ROWS)
    trained(tmp_path, changed(epochs=1))
    assert msgspec.json.encode(ROWS) == before
