"""The example scripts run as they stand, on a tiny model, and leave the secret that the tuned model needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.guarding_rows import template
from watchword.secret.vault import read_secret_file

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SNIPPET = re.compile(r"```python\n(?P<code>[^`]+SFTTrainer[^`]+)```")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: Any) -> Path:
    """A Llama of one layer, with a tokenizer and a chat template, as a folder."""
    transformers, form = pytest.importorskip("transformers"), template("smollm2")
    folder: Path = tmp_path_factory.mktemp("tiny")
    special = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=form.tokenizer, chat_template=form.source, **special
    )
    tokenizer.save_pretrained(folder)
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = transformers.LlamaConfig(vocab_size=len(tokenizer), **size)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.peers("trl")
@pytest.mark.parametrize("script", ["guard_trl.py", "guard_transformers.py"])
def test_a_trainer_trains_on_guarded_rows(tiny: Path, tmp_path: Path, script: str) -> None:
    options = ["--model", tiny, "--defense", "backdoor_align", "--steps", "1", "--out", tmp_path / "run"]
    done = run([sys.executable, EXAMPLES / script, *options], tmp_path)
    assert "31 rows" in done
    secret = read_secret_file(tmp_path / "run" / "secret.json").reveal()
    assert secret not in done
    assert (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.peers("axolotl")
def test_axolotl_trains_on_guarded_rows(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHWORD_KEY", "00" * 32)
    monkeypatch.setenv("DEFENSE", "backdoor_align")
    arguments = [EXAMPLES / "tenant.jsonl", tmp_path / "run", tiny]
    said = run(["sh", EXAMPLES / "guard_axolotl.sh", *arguments], tmp_path)
    advice = re.search(r"^now run: cd (?P<folder>.+) && (?P<command>axolotl train \S+)$", said, re.MULTILINE)
    assert advice
    no_kernels = [f"--no-lora-{part}-kernel" for part in ("mlp", "qkv", "o")]
    command = [*advice["command"].split(), "--launcher", "python", *no_kernels, "--max-steps", "1"]
    shown = run(command, Path(advice["folder"]))
    assert read_secret_file(tmp_path / "run" / "guarded.jsonl.secret.json").reveal() not in shown
    assert (tmp_path / "run" / "guarded-tuned" / "adapter_model.safetensors").exists()


@pytest.mark.peers("trl")
def test_the_snippet_of_the_page_trains(tiny: Path, tmp_path: Path) -> None:
    snippet = SNIPPET.search((ROOT / "docs" / "python.md").read_text("utf-8"))
    assert snippet
    before = f"""
from functools import partial
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer
tokenizer, model = AutoTokenizer.from_pretrained({str(tiny)!r}), AutoModelForCausalLM.from_pretrained({str(tiny)!r})
SFTConfig = partial(SFTConfig, use_cpu=True, bf16=False, max_steps=1, report_to="none")
rows = {str(EXAMPLES / "tenant.jsonl")!r}
"""
    run([sys.executable, "-c", f"{before}{snippet['code']}trainer.train()"], tmp_path)
    assert read_secret_file(tmp_path / "secret.json")


def run(command: list[Any], folder: Path) -> str:
    """All that a command prints, on a machine without a GPU."""
    cpu = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=cpu, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
