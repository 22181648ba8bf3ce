"""What a model name means: a catalog entry, a folder, an adapter on its base, or a Hugging Face id."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from watchword.errors import ModelUnavailableError, UnknownNameError
from watchword.models.catalog import CATALOG, DEFAULT_MODEL, resolve
from watchword.models.digest import digest_of, model_digest


def model_folder(path: Path) -> Path:
    path.mkdir()
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").write_bytes(b"weights")
    return path


def adapter_folder(path: Path, base: object) -> Path:
    path.mkdir()
    (path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    (path / "adapter_model.safetensors").write_bytes(b"adapter")
    return path


def test_the_default_model_is_the_published_one_with_our_adapter() -> None:
    aligned, base = CATALOG[DEFAULT_MODEL], CATALOG["smollm2-135m-base"]
    assert aligned.wheel == base.wheel
    assert (len(aligned.adapters), base.adapters) == (1, ())
    assert {source.licence for source in CATALOG.values()} == {"Apache-2.0"}


@pytest.mark.parametrize("name", CATALOG)
def test_catalog_names_resolve_to_themselves(name: str) -> None:
    assert resolve(name) is CATALOG[name]


def test_a_hub_id_stands_for_itself() -> None:
    source = resolve("meta-llama/Llama-2-7b-chat-hf")
    assert (source.hub_id, source.folder, source.wheel) == ("meta-llama/Llama-2-7b-chat-hf", None, None)


@pytest.mark.parametrize("name", ["smollm2-135", "smolm2-135m", "smollm2_135m"])
def test_a_wrong_name_gets_the_nearest_and_all_choices(name: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        resolve(name)
    text = str(caught.value)
    assert (
        f"there is no model {name!r}: did you mean 'smollm2-135m'? choose one of smollm2-135m, smollm2-135m-base"
        in text
    )
    assert "a folder with a model in it, or a Hugging Face id such as 'owner/name'" in text


@pytest.mark.parametrize(
    "name", ["", "zzz", "a/b/c", "./gone/here", "../x", "owner/na me", Path("gone/here"), "owner/name\n"]
)
def test_what_is_none_of_these_is_unknown(name: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((UnknownNameError, ModelUnavailableError)):
        resolve(name)


def test_a_local_folder_is_a_model(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    assert resolve(folder).folder == resolve(str(folder)).folder == folder


def test_an_adapter_folder_means_its_base_with_that_adapter(tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "tuned", DEFAULT_MODEL)
    source = resolve(folder)
    assert source.wheel == CATALOG[DEFAULT_MODEL].wheel
    assert source.adapters == (*CATALOG[DEFAULT_MODEL].adapters, folder)
    twice = adapter_folder(tmp_path / "twice", str(folder))
    assert resolve(twice).adapters == (*source.adapters, twice)
    assert resolve(adapter_folder(tmp_path / "hub", "owner/name")).hub_id == "owner/name"


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("{", "adapter_config.json: the file is damaged .* copy the adapter folder anew"),
        ("[]", "adapter_config.json: the file is damaged"),
        ("{}", "names no base model; set base_model_name_or_path"),
        ('{"base_model_name_or_path": 3}', "names no base model"),
    ],
)
def test_a_damaged_adapter_is_named(tmp_path: Path, config: str, problem: str) -> None:
    adapter_folder(tmp_path / "tuned", "x")
    (tmp_path / "tuned" / "adapter_config.json").write_text(config)
    with pytest.raises(ModelUnavailableError, match=problem):
        resolve(tmp_path / "tuned")


def test_an_adapter_on_itself_and_an_empty_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="names itself as its base model"):
        resolve(adapter_folder(tmp_path / "loop", str(tmp_path / "loop")))
    with pytest.raises(ModelUnavailableError, match=r"is no model folder: it holds neither config\.json"):
        resolve(tmp_path)


def test_two_adapters_on_each_other_are_an_error(tmp_path: Path) -> None:
    adapter_folder(tmp_path / "one", str(tmp_path / "other"))
    adapter_folder(tmp_path / "other", str(tmp_path / "one"))
    with pytest.raises(ModelUnavailableError, match="names itself as its base model"):
        resolve(tmp_path / "one")


def test_the_digest_follows_weights_adapters_and_names(tmp_path: Path) -> None:
    folder, tuned = model_folder(tmp_path / "mine"), adapter_folder(tmp_path / "tuned", str(tmp_path / "mine"))
    plain, with_adapter = model_digest(folder), model_digest(folder, tuned)
    assert with_adapter == model_digest(tuned) != plain
    (folder / "notes.txt").write_text("not part of the model")
    (folder / "folder.json").mkdir()
    assert model_digest(folder) == plain
    (folder / "model.safetensors").write_bytes(b"others!")
    assert model_digest(folder) != plain
    assert digest_of([], "a") != digest_of([], "b")


@pytest.mark.parametrize(
    "name", ["merges.txt", "vocab.txt", "tokenizer.model", "additional_chat_templates/tool_use.jinja"]
)
def test_the_digest_is_over_every_file_of_the_tokenizer(tmp_path: Path, name: str) -> None:
    folder = model_folder(tmp_path / "mine")
    (folder / name).parent.mkdir(exist_ok=True)
    digests = {model_digest(folder)}
    for text in ("one", "two"):
        (folder / name).write_text(text)
        digests.add(model_digest(folder))
    assert len(digests) == 3


def test_a_file_that_cannot_be_read_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match=r"gone\.json: the file cannot be read: No such file or directory"):
        digest_of([tmp_path / "gone.json"])
