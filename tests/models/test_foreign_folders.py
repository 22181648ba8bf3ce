"""A model folder is data: its code is never run, its pickles are never opened, and its weights lie inside it."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from support.tiny import saved  # noqa: E402
from watchword.errors import ModelUnavailableError  # noqa: E402
from watchword.models import hub  # noqa: E402
from watchword.models.catalog import resolve  # noqa: E402
from watchword.models.digest import model_digest  # noqa: E402
from watchword.models.facts import facts_of  # noqa: E402
from watchword.models.fetch import at_hand  # noqa: E402
from watchword.models.load import load, load_tokenizer  # noqa: E402

MAIN = "from watchword.cli import main; main()"
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def folder(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path / "foreign"))


def changed(file: Path, **entries: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


class Mark:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def code(folder: Path, mark: Path) -> None:
    """A module that can stand for any class of transformers, and leaves a mark when it is imported."""
    source = f"import os; os.makedirs({str(mark)!r}, exist_ok=True)\nfrom transformers import "
    for name, base in (
        ("configuration", "LlamaConfig"),
        ("modeling", "LlamaForCausalLM"),
        ("tokenization", "PreTrainedTokenizerFast"),
    ):
        (folder / f"{name}_own.py").write_text(f"{source}{base}\n\n\nclass Own({base}):\n    model_type = 'own'\n")
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(
        f"{source}LlamaConfig\n\n\ndef generate(model, **rest): ...\n"
    )


AUTO_MAP = {"AutoConfig": "configuration_own.Own", "AutoModelForCausalLM": "modeling_own.Own"}


def own_architecture(folder: Path) -> None:
    changed(folder / "config.json", model_type="own", auto_map=AUTO_MAP)


def own_model_only(folder: Path) -> None:
    """A configuration that transformers knows, of a kind that it has no language model for."""
    changed(folder / "config.json", model_type="clip_vision_model", auto_map=AUTO_MAP)


def own_tokenizer(folder: Path) -> None:
    auto_map = {"AutoTokenizer": [None, "tokenization_own.Own"]}
    changed(folder / "config.json", model_type="")
    changed(folder / "tokenizer_config.json", tokenizer_class="Own", auto_map=auto_map)


def of_a_hub_model(folder: Path) -> None:
    remote = {name: f"some-owner/some-model--{where}" for name, where in AUTO_MAP.items()}
    changed(folder / "config.json", model_type="own", auto_map=remote)


FOREIGN: dict[str, Callable[[Path], None]] = {
    "own architecture": own_architecture,
    "own model only": own_model_only,
    "own tokenizer": own_tokenizer,
    "code of a hub model": of_a_hub_model,
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_code_of_a_folder_is_an_error_and_never_a_question(
    folder: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def yes(prompt: str = "") -> str:
        asked.append(prompt)
        return "y"

    monkeypatch.setattr("builtins.input", yes)
    code(folder, tmp_path / "mark")
    FOREIGN[kind](folder)
    with pytest.raises(ModelUnavailableError, match="foreign"):
        load(folder)
    if kind == "own tokenizer":
        with pytest.raises(
            ModelUnavailableError, match=r"needs code of its own \(auto_map in its tokenizer_config\.json\)"
        ):
            load_tokenizer(resolve(folder), folder)
    assert asked == []
    assert not (tmp_path / "mark").exists()


def test_what_transformers_knows_is_loaded_without_the_folders_code(folder: Path, tmp_path: Path) -> None:
    code(folder, tmp_path / "mark")
    changed(folder / "config.json", auto_map=AUTO_MAP)
    assert type(load(folder).model).__module__.startswith("transformers.")
    assert not (tmp_path / "mark").exists()


def shell(*arguments: object, home: Path) -> subprocess.CompletedProcess[str]:
    """A command as a process of its own, to which somebody has piped a yes to everything."""
    return subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, arguments)],
        env=os.environ | {"WATCHWORD_KEY": "5a" * 32, "OMP_NUM_THREADS": "1", "HF_HOME": str(home / "hf")},
        input="y\n" * 20,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


@pytest.mark.integration
@pytest.mark.parametrize("command", ["evaluate", "train", "guard"])
def test_a_yes_in_a_pipe_is_no_yes(folder: Path, tmp_path: Path, command: str) -> None:
    code(folder, tmp_path / "mark")
    own_architecture(folder)
    (tmp_path / "p.txt").write_text("Hi\n")
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    (tmp_path / "t.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    options = {
        "evaluate": ("--prompts", tmp_path / "p.txt", "--model", folder),
        "train": ("--data", tmp_path / "t.jsonl", "--out", tmp_path / "out", "--model", folder),
        "guard": (tmp_path / "t.jsonl", "--out", tmp_path / "out", "--model", folder, "--aligned", folder),
    }[command]
    done = shell(command, *options, home=tmp_path)
    assert done.returncode == 5
    assert "needs code of its own (auto_map in its config.json), and code of a model is never run" in done.stderr
    assert "[y/N]" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "mark").exists()
    assert not (tmp_path / "out").exists()


PICKLED = {
    "pytorch_model.bin": (WEIGHTS, {}),
    "model.pt": (WEIGHTS, {}),
    "explicit": (WEIGHTS, {"transformers_weights": "adapter_model.bin"}),
}


@pytest.mark.parametrize("kind", PICKLED)
def test_pickled_weights_are_not_opened(folder: Path, tmp_path: Path, kind: str) -> None:
    gone, entries = PICKLED[kind]
    (folder / gone).unlink()
    name = entries.get("transformers_weights", kind)
    (folder / name).write_bytes(pickle.dumps(Mark(tmp_path / "mark")))
    changed(folder / "config.json", **entries)
    with pytest.raises(ModelUnavailableError) as caught:
        load(folder)
    assert f"has no weights as *.safetensors, only pickled ones, which could run code ({name})" in str(caught.value)
    assert "only these are loaded. Where you trust the files, convert them" in str(caught.value)
    assert not (tmp_path / "mark").exists()


def test_pickles_beside_safetensors_are_not_opened(folder: Path, tmp_path: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Mark(tmp_path / "mark")))
    assert load(folder).name == str(folder)
    changed(folder / "config.json", transformers_weights="pytorch_model.bin")
    with pytest.raises(ModelUnavailableError, match=r"takes the weights from 'pytorch_model\.bin'"):
        load(folder)
    assert not (tmp_path / "mark").exists()


def test_a_pickled_adapter_is_not_opened(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    config = {"peft_type": "LORA", "base_model_name_or_path": str(base), "r": 2}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Mark(tmp_path / "mark")))
    for options in ({"name": folder}, {"name": base, "adapter": folder}):
        with pytest.raises(ModelUnavailableError) as caught:
            load(**options)  # type: ignore[arg-type]
        assert "has no adapter_model.safetensors, only pickled ones, which could run code" in str(caught.value)
        assert "s.save_file(torch.load('adapter_model.bin', weights_only=True)" in str(caught.value)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "entries",
    [
        {"peft_type": "PROMPT_TUNING", "prompt_tuning_init": "TEXT", "tokenizer_name_or_path": "own"},
        {"peft_type": "XLORA", "adapters": {"0": "elsewhere"}},
        {"peft_type": None},
        {"megatron_config": {"x": 1}, "megatron_core": "own"},
    ],
)
def test_only_plain_lora_adapters_are_loaded(base: Path, tmp_path: Path, entries: dict[str, Any]) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x")
    config = {"peft_type": "LORA", "base_model_name_or_path": str(base)} | entries
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelUnavailableError, match="is no plain LoRA adapter"):
        load(base, adapter=tmp_path)


@pytest.mark.parametrize("name", ["../base/model.safetensors", "/etc/passwd", "below/a.safetensors", "a.bin", 3])
def test_shards_lie_in_the_folder(folder: Path, name: object) -> None:
    index = {"metadata": {}, "weight_map": {"model.norm.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelUnavailableError, match=r"which is no \*\.safetensors file in the same folder"):
        load(folder)


ODD: tuple[object, ...] = ([], "x", 3, {"model_type": 3}, {"model_type": "llama", "auto_map": "x", "hidden_size": "y"})


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "generation_config.json"])
@pytest.mark.parametrize("content", ODD, ids=map(str, range(len(ODD))))
def test_odd_files_end_in_a_clean_error_or_a_model(folder: Path, file: str, content: object) -> None:
    (folder / file).write_text(json.dumps(content))
    try:
        assert load(folder).name == str(folder)
    except ModelUnavailableError as error:
        assert "foreign" in str(error)


def test_a_home_folder_that_nobody_has_is_no_model() -> None:
    from watchword.errors import UnknownNameError

    with pytest.raises(UnknownNameError, match="there is no model '~nobody-at-all/x'"):
        resolve("~nobody-at-all/x")


@pytest.fixture
def on_the_hub(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of ``some-owner/some-model`` as the hub's cache keeps them; the network is never asked."""
    root = tmp_path / "hub" / "models--some-owner--some-model"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("c" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    hub.snapshot.cache_clear()
    yield Path(shutil.copytree(base, root / "snapshots" / ("c" * 40)))  # type: ignore[misc]
    hub.snapshot.cache_clear()


def test_a_hub_models_digest_is_of_its_files(on_the_hub: Path) -> None:
    before = model_digest("some-owner/some-model")
    assert load("some-owner/some-model").name == "some-owner/some-model"
    weights = on_the_hub / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert model_digest("some-owner/some-model") != before


def test_facts_are_those_of_the_model_that_is_loaded(on_the_hub: Path, folder: Path) -> None:
    name = "some-owner/some-model"
    found, model = facts_of(name), load(name)
    assert (found.template.digest, found.context, found.location) == (model.template.digest, model.context, name)
    # A LoRA adapter on the hub is read with its base's template, whatever lies beside it.
    changed(folder / "tokenizer_config.json", chat_template="{{ messages[0].content }}")
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    (on_the_hub / "adapter_model.safetensors").write_bytes(b"x")
    config = {"peft_type": "LORA", "base_model_name_or_path": str(folder)}
    (on_the_hub / "adapter_config.json").write_text(json.dumps(config))
    assert facts_of(name).template.source == "{{ messages[0].content }}"


def test_facts_do_not_fetch_weights(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def download(hub_id: str, *, allow_patterns: list[str], ignore_patterns: list[str]) -> str:
        asked.append(allow_patterns)
        return str(base)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    hub.snapshot.cache_clear()
    for _ in range(2):
        assert facts_of("some-owner/some-model").context == 2048
    assert len(asked) == 1
    wanted = [path.name for path in base.iterdir() if any(fnmatch(path.name, kind) for kind in asked[0])]
    assert "tokenizer.json" in wanted
    assert WEIGHTS not in wanted
    hub.snapshot.cache_clear()


def test_an_older_tokenizer_is_read_as_transformers_reads_it(folder: Path) -> None:
    whole = facts_of(folder).template
    made = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(made["vocab"]))
    (folder / "merges.txt").write_text("".join(" ".join(pair) + "\n" for pair in made["merges"]))
    changed(folder / "tokenizer_config.json", tokenizer_class="GPT2Tokenizer")
    assert facts_of(folder).template.encode("Hi, what is this?") == whole.encode("Hi, what is this?")


def test_a_hub_adapter_means_its_base_with_it(on_the_hub: Path, base: Path) -> None:
    (on_the_hub / "adapter_model.safetensors").write_bytes(b"x")
    config = {"peft_type": "LORA", "base_model_name_or_path": str(base)}
    (on_the_hub / "adapter_config.json").write_text(json.dumps(config))
    assert at_hand(resolve("some-owner/some-model")) == (base, (on_the_hub,))
    changed(on_the_hub / "adapter_config.json", base_model_name_or_path="some-owner/some-model")
    with pytest.raises(ModelUnavailableError, match="leads to itself as its base model"):
        load("some-owner/some-model")
