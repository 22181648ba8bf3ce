"""An exported model is the one that ``load`` gives, weight for weight, with the very template and tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from support.tiny import saved  # noqa: E402
from watchword.errors import OutputError  # noqa: E402
from watchword.models.catalog import DEFAULT_MODEL  # noqa: E402
from watchword.models.digest import model_files  # noqa: E402
from watchword.models.export import export_model  # noqa: E402
from watchword.models.facts import facts_of  # noqa: E402
from watchword.models.load import load, quiet  # noqa: E402


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def tuned(base: Path) -> Path:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    with quiet():
        model = load(base, dtype=torch.float32).model
        tuned = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
        tuned.save_pretrained(base.parent / "tuned")
    return base.parent / "tuned"


def weights(model: Path | str, dtype: object = "auto") -> dict[str, object]:
    return load(model, device="cpu", dtype=dtype).model.state_dict()  # type: ignore[arg-type]


def same(one: dict[str, object], other: dict[str, object]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_adapters_are_in_the_weights_and_nothing_else_changes(base: Path, tuned: Path, tmp_path: Path) -> None:
    export_model(tuned, tmp_path / "out" / "whole")
    whole = tmp_path / "out" / "whole"
    assert same(weights(whole), weights(tuned))
    assert not same(weights(whole), weights(base))
    assert facts_of(whole).template.digest == facts_of(base).template.digest
    assert {path.name for path in whole.iterdir()} == {path.name for path in base.iterdir()}
    config, before = (json.loads((folder / "config.json").read_bytes()) for folder in (whole, base))
    assert config == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["whole"]
    assert len({path.stat().st_mode for path in whole.iterdir()}) == 1


def test_an_adapter_beside_the_model_is_merged_too(base: Path, tuned: Path, tmp_path: Path) -> None:
    export_model(base, tmp_path / "whole", adapter=tuned)
    assert same(weights(tmp_path / "whole"), weights(tuned))


def test_the_type_of_the_weights_is_the_one_they_were_stored_in(base: Path, tmp_path: Path) -> None:
    with quiet():
        half = load(base, dtype=torch.bfloat16).model
        half.save_pretrained(tmp_path / "half")
    for path in model_files(base):
        if path.name.startswith(("tokenizer", "chat_template")):
            (tmp_path / "half" / path.name).write_bytes(path.read_bytes())
    export_model(tmp_path / "half", tmp_path / "out")
    assert {tensor.dtype for tensor in weights(tmp_path / "out").values()} == {torch.bfloat16}


def test_what_is_there_is_never_replaced(base: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="already"):
        export_model(base, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.integration
def test_the_default_model_in_one_folder(tmp_path: Path) -> None:
    export_model(DEFAULT_MODEL, tmp_path / "out")
    assert same(weights(tmp_path / "out"), weights(DEFAULT_MODEL, torch.bfloat16))
    assert facts_of(tmp_path / "out").template.digest == facts_of(DEFAULT_MODEL).template.digest
