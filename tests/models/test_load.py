"""Folders and LoRA adapters come back as plain models, and what can't be loaded says why and what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from support.tiny import plain_greedy, saved, tiny_llama  # noqa: E402
from watchword.chat.types import conversation  # noqa: E402
from watchword.errors import ModelUnavailableError, TemplateError, UsageError  # noqa: E402
from watchword.models.base import GenerationOptions  # noqa: E402
from watchword.models.catalog import CATALOG, ModelSource  # noqa: E402
from watchword.models.digest import model_digest  # noqa: E402
from watchword.models.load import load, quiet  # noqa: E402
from watchword.models.loaded import LoadedModel  # noqa: E402

IDS = torch.tensor([[5, 90, 300, 77]])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def tuned(base: Path) -> tuple[Path, Any]:
    """An adapter folder on ``base``, and the logits of its PEFT model for ``IDS``."""
    return adapter(base, seed=1)


def adapter(base: Path, seed: int) -> tuple[Path, Any]:
    from peft import LoraConfig, get_peft_model

    model = load(base, dtype=torch.float32).model
    torch.manual_seed(seed)
    with quiet():
        # Weights other than zero from the start, as if it had been trained.
        tuned = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)).eval()
        folder = base.parent / f"adapter-{seed}"
        tuned.save_pretrained(folder)
    return folder, logits(tuned)


def logits(model: Any) -> Any:
    with torch.inference_mode():
        return model(input_ids=IDS).logits


def test_a_folder_loads_in_evaluation_mode_and_answers(base: Path) -> None:
    model = load(base, dtype=torch.float32)
    assert (model.name, model.device.type, model.model.training) == (str(base), "cpu", False)
    assert torch.equal(logits(model.model), logits(tiny_llama()))
    answers = model.generate([conversation("Hi")], options=GenerationOptions(max_new_tokens=3))
    assert [(type(answer.text), answer.usage.completion_tokens) for answer in answers] == [(str, 3)]
    assert "digest" not in repr(model)


def test_an_adapter_is_merged_into_a_plain_model(base: Path, tuned: tuple[Path, Any]) -> None:
    folder, expected = tuned
    for model in (load(folder, dtype=torch.float32), load(base, adapter=folder, dtype=torch.float32)):
        assert type(model.model).__name__ == "LlamaForCausalLM"
        assert not hasattr(model.model, "peft_config")
        torch.testing.assert_close(logits(model.model), expected, rtol=1e-4, atol=1e-4)
    assert load(base, adapter=folder).name == f"{base}+{folder.name}"


def test_adapters_are_merged_in_order(base: Path, tuned: tuple[Path, Any]) -> None:
    folder, _ = tuned
    other, _ = adapter(base, seed=2)
    both = logits(load(folder, adapter=other, dtype=torch.float32).model)
    assert not torch.allclose(both, logits(load(folder, dtype=torch.float32).model), atol=1e-3)
    assert not torch.allclose(both, logits(load(other, dtype=torch.float32).model), atol=1e-3)


def test_a_merged_model_generates_what_transformers_does(base: Path, tuned: tuple[Path, Any]) -> None:
    from watchword.models.decode import generate_ids

    model = load(tuned[0], dtype=torch.float32)
    ours = generate_ids(model, [[1, 50, 60], [1, 70]], options=GenerationOptions(max_new_tokens=6))
    assert ours == [plain_greedy(model.model, prompt, 6, [2]) for prompt in ([1, 50, 60], [1, 70])]


def test_the_digest_tells_models_apart_and_is_known_without_loading(base: Path, tuned: tuple[Path, Any]) -> None:
    changed, _ = adapter(base, seed=2)
    assert len({model_digest(base), model_digest(tuned[0]), model_digest(changed)}) == 3
    assert model_digest(base, adapter=tuned[0]) == model_digest(tuned[0])


def test_a_model_that_somebody_else_loaded_answers_as_if_loaded_here(base: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet():
        model, tokenizer = AutoModelForCausalLM.from_pretrained(base).train(), AutoTokenizer.from_pretrained(base)
    given = LoadedModel.of(model, tokenizer)
    asked = [conversation("Hi?"), conversation("And you?")]
    assert given.generate(asked) == load(base, dtype=torch.float32).generate(asked)
    assert (given.name, given.context) == (str(base), load(base).context)


def test_no_path_of_this_machine_goes_into_a_later_adapter(tuned: tuple[Path, Any]) -> None:
    model = load(tuned[0]).model
    assert model.config._name_or_path == model.name_or_path == str(tuned[0])


def test_other_weights_keep_the_name_and_an_adapter_comes_off_again(base: Path) -> None:
    from peft import LoraConfig, get_peft_model

    model = load(base, dtype=torch.float32)
    before = logits(model.model)
    with pytest.raises(UsageError, match="carries no adapter, so there is nothing to take off; load it again"):
        model.without_adapter()
    with quiet():
        tuned = model.with_weights(get_peft_model(model.model, LoraConfig(r=2, init_lora_weights=False)))
    assert tuned.name == model.name
    assert not torch.allclose(logits(tuned.model), before)
    assert torch.equal(logits(tuned.without_adapter().model), before)


@pytest.mark.parametrize("missing", ["adapter_model.safetensors", "adapter_config.json"])
def test_an_adapter_that_is_not_complete_is_named(
    base: Path, tuned: tuple[Path, Any], tmp_path: Path, missing: str
) -> None:
    folder = Path(shutil.copytree(tuned[0], tmp_path / "part"))
    (folder / missing).unlink()
    with pytest.raises(ModelUnavailableError, match=rf"part: the adapter for .* is not complete: {missing} is missing"):
        load(base, adapter=folder)


def test_an_adapter_of_another_shape_does_not_fit(base: Path, tuned: tuple[Path, Any], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tuned[0], tmp_path / "wide"))
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"r": 3}))
    with pytest.raises(ModelUnavailableError, match="wide does not fit the model: "):
        load(base, adapter=folder)


@pytest.mark.parametrize("harm", ["cut", "no config", "no tokenizer"])
def test_a_broken_folder_says_what_belongs_into_it(base: Path, tmp_path: Path, harm: str) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "broken"))
    if harm == "cut":
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
    elif harm == "no config":
        (folder / "config.json").write_text("{")
    else:
        for path in folder.glob("tokenizer*"):
            path.unlink()
    with pytest.raises(
        ModelUnavailableError, match=r"(?s)broken' cannot be loaded: .*Check that the folder holds config"
    ):
        load(folder)


def test_missing_weights_are_not_made_up(base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(base, tmp_path / "gap"))
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ModelUnavailableError, match=r"lacks 1 of its weights, model\.layers\.1\.mlp\.up_proj\.weight for one"
    ):
        load(folder)


def test_a_model_without_a_chat_template_is_refused(base: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "bare"))
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(TemplateError, match="has no chat template, so there is no place for a secret"):
        load(folder)


def test_a_hub_model_that_cannot_be_had_names_the_ways_out() -> None:
    with pytest.raises(ModelUnavailableError) as caught:
        load("nobody-at-all/no-such-model")
    assert "HF_TOKEN" in str(caught.value)
    assert "name a local folder instead" in str(caught.value)


def test_a_catalog_model_whose_adapter_is_missing_is_named_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = ModelSource("gone", wheel=CATALOG["smollm2-135m"].wheel, adapters=(tmp_path / "aligned",))
    monkeypatch.setitem(CATALOG, "gone", source)
    with pytest.raises(ModelUnavailableError, match="or install watchword again if the adapter came with it"):
        load("gone")


def test_an_unknown_device_is_a_usage_error(base: Path) -> None:
    with pytest.raises(UsageError, match="there is no device 'gpu': choose cpu, cuda"):
        load(base, device="gpu")


def test_quiet_puts_everything_back() -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with pytest.raises(RuntimeError), quiet():
        raise RuntimeError
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
