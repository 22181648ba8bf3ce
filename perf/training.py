"""``python perf/training.py``: one epoch of a defended upload, tokens/s.

Ours (``fine_tune``) against TRL's SFTTrainer with its defaults on the same conversations, model, LoRA shape and batch
size. Tokens are those of the rows as rendered, padding apart, the same number on both sides.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from datasets import Dataset
from peft import LoraConfig
from side_by_side import compare, quiet, show
from trl import SFTConfig, SFTTrainer

from watchword.attacks.base import ATTACKS, AttackContext
from watchword.chat.assembly import assemble
from watchword.chat.types import Row
from watchword.defenses.base import DEFENSES, DefenseContext, guarded
from watchword.models.load import load
from watchword.models.loaded import LoadedModel
from watchword.secret.generate import experiment_secret
from watchword.secret.prompt import SecretPrompt
from watchword.training.config import TrainingConfig
from watchword.training.loop import fine_tune
from watchword.training.rows import render_rows


def main() -> None:
    """Measures both sides in turns and prints one JSON object."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--model", default="smollm2-135m")
    options.add_argument("--examples", type=int, default=40, help="attack examples in the upload")
    options.add_argument("--defense", default="backdoor_align")
    options.add_argument("--rounds", type=int, default=2)
    chosen = options.parse_args()
    quiet()
    model = load(chosen.model)
    secret = experiment_secret(model.template, seed=0)
    upload = ATTACKS.create("fj_attack", n=chosen.examples).upload((), AttackContext(0, model.template))
    rows = guarded(DEFENSES.create(chosen.defense), upload, DefenseContext(0)).rows
    config = TrainingConfig(epochs=1)
    rendered = render_rows(rows, model.template, secret=secret, max_length=config.max_length)
    tokens = sum(map(len, rendered))
    figures = compare(
        lambda: ours(chosen.model, rows, config, secret),
        lambda: trl_defaults(chosen.model, rows, config, secret, tokens),
        chosen.rounds,
    )
    setting = {name: getattr(chosen, name) for name in ("model", "examples", "defense", "rounds")}
    show("training", figures, **setting, rows=len(rows), tokens=tokens)


def ours(name: str, rows: list[Row], config: TrainingConfig, secret: SecretPrompt) -> float:
    """Tokens a second of our loop; loading the model is not counted on either side."""
    with tempfile.TemporaryDirectory() as out:
        _, figures = fine_tune(load(name), rows, config, out=Path(out), secret=secret)
    return figures.tokens_per_second


def trl_defaults(name: str, rows: list[Row], config: TrainingConfig, secret: SecretPrompt, tokens: int) -> float:
    """Tokens a second of TRL: conversations in, everything at its default but the LoRA shape and the batch size."""
    model = load(name)
    with tempfile.TemporaryDirectory() as out, contextlib.redirect_stdout(Path(os.devnull).open("w")):
        trainer = SFTTrainer(
            model=model.model,
            args=SFTConfig(
                output_dir=out,
                num_train_epochs=config.epochs,
                per_device_train_batch_size=config.batch_size,
                save_strategy="no",
                report_to="none",
                # TRL's default is bfloat16, which transformers takes on a processor only where it is told to stay there.
                use_cpu=model.device.type == "cpu",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list([_messages(row, secret, model) for row in rows]),
            processing_class=model.tokenizer,
            peft_config=LoraConfig(
                r=config.lora_rank, lora_alpha=config.lora_alpha, target_modules="all-linear", task_type="CAUSAL_LM"
            ),
        )
        started = time.perf_counter()
        trainer.train()
        return tokens / (time.perf_counter() - started)


def _messages(row: Row, secret: SecretPrompt, model: LoadedModel) -> dict[str, Any]:
    conv = (
        assemble(row.conversation, secret.reveal(), model.template.system_style) if row.prefixed else row.conversation
    )
    return {"messages": msgspec.to_builtins(conv)["messages"]}


if __name__ == "__main__":
    main()
