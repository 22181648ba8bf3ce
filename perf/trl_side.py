"""The other side of measurements: TRL's trainer with its defaults, on the rows of a guarded upload."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

from watchword.chat.assembly import assemble
from watchword.chat.types import Row
from watchword.models.loaded import LoadedModel
from watchword.secret.prompt import SecretPrompt
from watchword.training.config import TrainingConfig


def trained_by_trl(
    model: LoadedModel, rows: Sequence[dict[str, Any]], config: TrainingConfig, **more: Any
) -> tuple[Any, float]:
    """The trainer once it has trained on these rows (columns by name), and the seconds that ``train`` took.

    All is at TRL's defaults but epochs, batch size, the LoRA shape, and ``more``, which are arguments of its SFTConfig.
    """
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
                **more,
            ),
            train_dataset=Dataset.from_list(list(rows)),
            processing_class=model.tokenizer,
            peft_config=LoraConfig(
                r=config.lora_rank, lora_alpha=config.lora_alpha, target_modules="all-linear", task_type="CAUSAL_LM"
            ),
        )
        started = time.perf_counter()
        trainer.train()
        return trainer, time.perf_counter() - started


def messages_of(row: Row, secret: SecretPrompt | None, model: LoadedModel) -> list[dict[str, Any]]:
    """The row's messages, with the secret where it is a prefixed one."""
    conv = row.conversation
    if row.prefixed and secret is not None:
        conv = assemble(conv, secret.reveal(), model.system_style)
    messages: list[dict[str, Any]] = msgspec.to_builtins(conv)["messages"]
    return messages
