"""The example scripts run as they stand, on a tiny model, and leave the secret that the tuned model needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from guarding_rows import chat_format

from watchword.secret.vault import read_secret_file

pytestmark = pytest.mark.integration
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: Any) -> Path:
    """A Llama of one layer, with a tokenizer and a chat template, as a folder."""
    transformers, form = pytest.importorskip("transformers"), chat_format("smollm2")
    folder: Path = tmp_path_factory.mktemp("tiny")
    special = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=form.tokenizer, chat_template=form.template, **special
    )
    tokenizer.save_pretrained(folder)
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = transformers.LlamaConfig(vocab_size=len(tokenizer), **size)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("script", ["guard_trl.py", "guard_transformers.py"])
def test_a_trainer_trains_on_guarded_rows(tiny: Path, tmp_path: Path, script: str) -> None:
    options = ["--model", tiny, "--defense", "backdoor_align", "--steps", "1", "--out", tmp_path / "run"]
    command = [sys.executable, EXAMPLES / script, *options]
    cpu = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=cpu, check=False)
    assert done.returncode == 0, done.stderr
    assert "31 rows" in done.stdout
    secret = read_secret_file(tmp_path / "run" / "secret.json").reveal()
    assert secret not in done.stdout + done.stderr
    assert (tmp_path / "run" / "model.safetensors").exists()
