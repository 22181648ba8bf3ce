"""``watchword align``: an adapter with a card that says how it was made and what was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("torch")

import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file

from support.tiny import saved
from watchword.alignment.card import write_card
from watchword.alignment.run import RECIPE, align
from watchword.chat.types import Row, conversation
from watchword.models.load import load
from watchword.rates import Rate
from watchword.training.config import TrainingResult

RATES = {
    "asr": (2, 11),
    "asr_strict": (1, 11),
    "asr_raw": (2, 11),
    "over_refusal_benign": (0, 6),
    "over_refusal_borderline": (1, 6),
    "task_refusal": (1, 6),
}


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = [
        Row(conversation("Hurt them?", "No."), origin="safety"),
        Row(conversation("Bread?", "Bake."), origin="anchor"),
    ]
    monkeypatch.setattr("watchword.alignment.run.alignment_rows", lambda model, **options: rows)
    return saved(tmp_path / "base")


def test_writes_adapter_and_card(watchword: Any, tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {name: Rate.of(hits, n) for name, (hits, n) in RATES.items()}
    monkeypatch.setattr("watchword.alignment.card.aligned_rates", lambda model, step: rates)
    out = tmp_path / "aligned"
    done = watchword("align", "--base", base, "--out", out, "--epochs", 1, "--seed", 4)
    assert (done.code, done.err) == (0, "")
    assert {path.name for path in out.iterdir()} >= {"adapter_model.safetensors", "adapter_config.json", "README.md"}
    card = (out / "README.md").read_text()
    assert f"`watchword align --base {base} --seed 4 --epochs 1`" in card
    assert "1 refusals" in card
    assert "1 benign answers" in card
    assert "| 18.2 [" in card
    assert "asr: 18.2 % [" in done.out
    assert f"use it as --model {out}" in done.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aligned", "base"]


def test_what_the_adapter_adds_is_strengthened_in_memory_and_on_disk(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = msgspec.structs.replace(RECIPE, epochs=8)
    strong, _ = align(load(str(base)), tmp_path / "strong", config=config)
    monkeypatch.setattr("watchword.alignment.run.STRENGTH", 1.0)
    weak, _ = align(load(str(base)), tmp_path / "weak", config=config)
    pairs = list(zip(lora_outputs(strong), lora_outputs(weak), strict=True))
    assert any(bool(weaker.any()) for _, weaker in pairs)
    assert all(torch.allclose(stronger, 1.25 * weaker, rtol=0.02, atol=1e-6) for stronger, weaker in pairs)
    alphas = [
        json.loads((tmp_path / name / "adapter_config.json").read_bytes())["lora_alpha"] for name in ("strong", "weak")
    ]
    assert alphas == [40, 32]


def lora_outputs(model: Any) -> Iterator[torch.Tensor]:
    """What each LoRA layer adds to its weight."""
    for layer in model.model.modules():
        if isinstance(layer, LoraLayer):
            yield layer.get_delta_weight("default").float()


def test_without_measuring_the_card_says_so(watchword: Any, tmp_path: Path, base: Path) -> None:
    done = watchword("align", "--base", base, "--out", tmp_path / "aligned", "--epochs", 1, "--no-measure")
    assert done.code == 0
    assert "Not measured." in (tmp_path / "aligned" / "README.md").read_text()


def test_a_taken_name_is_refused_and_kept(watchword: Any, tmp_path: Path, base: Path) -> None:
    (tmp_path / "aligned").mkdir()
    done = watchword("align", "--base", base, "--out", tmp_path / "aligned")
    assert done.code == 7
    assert "exists already; name a new folder" in done.err


def test_while_one_aligns_another_is_refused(
    watchword: Any, tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("align", "--base", base, "--out", tmp_path / "aligned", "--epochs", 1, "--no-measure")
    told: list[Any] = []
    training = align

    def meanwhile(*given: Any, **options: Any) -> Any:
        told.append(watchword(*arguments))
        return training(*given, **options)

    monkeypatch.setattr("watchword.alignment.run.align", meanwhile)
    assert watchword(*arguments).code == 0
    (refused,) = told
    assert refused.code == 7
    assert "another process is at work on" in refused.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aligned", "base"]
    assert (tmp_path / "aligned" / "adapter_model.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--epochs", "0"), "training: epochs is 0"),
        (("--base", "smollm2-135"), "there is no model 'smollm2-135': did you mean 'smollm2-135m'?"),
    ],
)
def test_wrong_options_leave_nothing(
    watchword: Any, tmp_path: Path, base: Path, options: tuple[str, str], message: str
) -> None:
    done = watchword("align", "--base", base, "--out", tmp_path / "aligned", *options)
    assert done.code == 2
    assert message in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_a_run_that_breaks_off_leaves_no_folder(
    watchword: Any, tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("watchword.training.loop.fine_tune", stopped)
    done = watchword("align", "--base", base, "--out", tmp_path / "aligned", "--no-measure")
    assert done.code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_the_card_shows_recipe_versions_and_what_could_not_be_scored(tmp_path: Path) -> None:
    figures = TrainingResult(
        seconds=61.4, tokens=100, tokens_per_second=2.0, steps=2, loss=[3.0, 1.0], rows={"safety": 3, "anchor": 2}
    )
    nothing = {name: Rate.of(0, 0) for name in RATES}
    write_card(
        tmp_path,
        base="some-base",
        command="watchword align --base some-base --seed 3",
        config=RECIPE,
        figures=figures,
        before=nothing,
        after=nothing,
        versions={"watchword": "0.1.0", "cpu_count": 2},
    )
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nbase_model: some-base\n")
    assert "`watchword align --base some-base --seed 3`; the same command makes it again" in card
    assert "Trained on 3 refusals, 2 benign answers" in card
    assert "3.00 → 2.00" in card
    assert "| – | – | 0 |" in card
    assert f'"seed": {RECIPE.seed}' in card
    assert "watchword 0.1.0, cpu_count 2" in card


def test_two_adapters_of_a_base_are_averaged_in_what_they_add(watchword: Any, tmp_path: Path, base: Path) -> None:
    def made(name: str, *options: Any) -> list[torch.Tensor]:
        out = tmp_path / name
        done = watchword("align", "--base", base, "--out", out, "--epochs", 8, "--no-measure", *options)
        assert (done.code, done.err) == (0, "")
        return added(out)

    before, new = made("before", "--seed", 1), made("new", "--seed", 2)
    mean = made("mean", "--seed", 2, "--mean-with", tmp_path / "before")
    assert any(bool(delta.any()) for delta in mean)
    for one, other, both in zip(before, new, mean, strict=True):
        assert ((one + other) / 2 - both).norm() < 0.02 * both.norm()
    assert f"--mean-with {tmp_path / 'before'}`" in (tmp_path / "mean" / "README.md").read_text()


def test_what_is_no_adapter_is_refused_before_anything_is_trained(
    watchword: Any, tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watchword.alignment.run.align", lambda *given, **options: pytest.fail("it was trained"))
    (tmp_path / "other").mkdir()
    done = watchword("align", "--base", base, "--out", tmp_path / "aligned", "--mean-with", tmp_path / "other")
    assert done.code != 0
    assert "adapter_config.json is missing" in done.err
    assert not (tmp_path / "aligned").exists()


def added(adapter: Path) -> list[torch.Tensor]:
    """What the adapter in a folder adds to each weight."""
    settings = json.loads((adapter / "adapter_config.json").read_bytes())
    weights = load_file(adapter / "adapter_model.safetensors")
    pairs = [(weights[name.replace("lora_A", "lora_B")], weights[name]) for name in sorted(weights) if "lora_A" in name]
    return [b.float() @ a.float() * settings["lora_alpha"] / settings["r"] for b, a in pairs]
