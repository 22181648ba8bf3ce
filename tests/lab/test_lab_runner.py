"""The laboratory measures the weights that a defense would have served."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch")


from safetensors.torch import load_file, save_file  # noqa: E402

from support.tiny import saved  # noqa: E402
from watchword.chat.types import Row, conversation  # noqa: E402
from watchword.defenses.base import Defense  # noqa: E402
from watchword.errors import UsageError, WatchwordError  # noqa: E402
from watchword.finetune.launch.base import LAUNCHERS  # noqa: E402
from watchword.lab.cell import Tuned  # noqa: E402
from watchword.lab.runner import _CellTraining, rehearse  # noqa: E402
from watchword.lab.spec import Arm, Cell, Choice, Spec, complete  # noqa: E402
from watchword.models.fakes import FakeModel, fake_template  # noqa: E402
from watchword.models.load import load  # noqa: E402
from watchword.training.config import TrainingConfig, TrainingResult  # noqa: E402

ROWS = [Row(conversation("Hi?", "Hello."))] * 4
CONFIG = TrainingConfig(epochs=2, learning_rate=0.1, lora_rank=2, warmup_steps=0)


@pytest.mark.parametrize(
    ("attack", "defense", "message"),
    [
        ({"n": 1000}, {}, "1000"),
        ({"n": 10}, {"safety": 600}, "600 were asked for"),
        ({"n": 10}, {"anchors": 105}, "105 anchors were asked for"),
        ({"n": 10}, {"selection": "zzz"}, "there is no selection 'zzz'"),
    ],
)
def test_numbers_that_there_are_not_are_found_before_the_first_cell(
    attack: dict[str, Any], defense: dict[str, Any], message: str
) -> None:
    with pytest.raises(WatchwordError, match=message):
        rehearse(cell(attack, defense), fake_template())


@pytest.mark.parametrize("defense", ["anchored_align", "anchored_align + sbr"])
def test_examples_that_the_model_is_to_write_are_no_error(defense: str) -> None:
    given = Choice(defense, {"selection": "generated"})
    rehearse(complete(msgspec.structs.replace(cell({"n": 10}, {}), defense=given)), fake_template())


def cell(attack: dict[str, Any], defense: dict[str, Any]) -> Cell:
    arm = Arm(Choice("fj_attack", attack), Choice("anchored_align", defense))
    return Spec(name="t", model="m", arms=[arm], seeds=[0]).cells()[0]


class Undoing(Defense):
    """Takes all that was learnt out of the adapter."""

    def guard_weights(self, tuned: Path, base: Any) -> Path:
        out = Path(shutil.copytree(tuned, tuned / "undone"))
        weights = load_file(out / "adapter_model.safetensors")
        save_file({name: torch.zeros_like(part) for name, part in weights.items()}, out / "adapter_model.safetensors")
        return out


@pytest.mark.parametrize("launcher", ["in_process", "child"])
@pytest.mark.parametrize(("defense", "changed"), [(Defense(), True), (Undoing(), False)])
def test_the_weights_that_a_defense_gives_back_are_measured(
    tmp_path: Path, defense: Defense, changed: bool, launcher: str
) -> None:
    base = str(saved(tmp_path / "base"))
    training = _CellTraining(base, load(base), tmp_path / "run", LAUNCHERS.create(launcher))
    tuned = training(ROWS, CONFIG, defense, None, lambda *told: None).model
    ids = torch.arange(5, 25)[None]
    with torch.inference_mode():
        logits, before = tuned.model(ids).logits, load(base).model(ids).logits
    assert torch.allclose(logits, before, atol=1e-3) is not changed
    assert training.restored() is not None


def test_a_second_training_goes_on_from_the_first_and_the_model_is_loaded_anew_after_it(tmp_path: Path) -> None:
    base = str(saved(tmp_path / "base"))
    training = _CellTraining(base, load(base), tmp_path / "run", LAUNCHERS.create("in_process"))
    first = training(ROWS, CONFIG, Defense(), None, lambda *told: None)
    ids = torch.arange(5, 25)[None]
    with torch.inference_mode():
        once, before = first.model.model(ids).logits.clone(), load(base).model(ids).logits
    # So small a rate changes nothing: what is seen is where the second training began.
    second = training(
        ROWS, msgspec.structs.replace(CONFIG, learning_rate=1e-12), Defense(), None, lambda *told: None, before=first
    )
    with torch.inference_mode():
        twice = second.model.model(ids).logits
    # The adapter's changes are rounded when they are written into the weights.
    assert (twice - once).abs().mean() < 0.2 * (twice - before).abs().mean()
    assert second.weights is None
    assert training.restored() is None


@pytest.mark.parametrize(("defense", "launcher"), [(Undoing(), "in_process"), (Defense(), "child")])
def test_a_second_training_that_would_begin_elsewhere_is_refused(
    tmp_path: Path, defense: Defense, launcher: str
) -> None:
    training = _CellTraining("m", None, tmp_path / "run", LAUNCHERS.create(launcher))
    before = Tuned(
        FakeModel("Hello."), TrainingResult(seconds=1.0, tokens=1, tokens_per_second=1.0, steps=1, loss=[], rows={})
    )
    with pytest.raises(UsageError, match="a second training needs the first one's model in memory"):
        training(ROWS, CONFIG, defense, None, lambda *told: None, before=before)
