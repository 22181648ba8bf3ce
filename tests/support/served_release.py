"""A release on disk without a training: real manifest, seal and tokenizer beside weights that nobody loads. No torch."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from support.golden_families import template
from watchword.chat.template import ChatTemplate
from watchword.release.artifact import DefenseRecord, ReleaseManifest, secret_record, weights_digest, write_artifact
from watchword.secret.generate import experiment_secret
from watchword.secret.prompt import SecretPrompt
from watchword.training.config import TrainingConfig, TrainingResult

KEY = bytes(range(32))


@functools.cache
def secret_of(family: str = "smollm2", seed: int = 7) -> SecretPrompt:
    """A secret of 40 tokens for the golden tests' tokenizer of a family."""
    return experiment_secret(template(family), tokens=40, seed=seed)


def release_folder(root: Path, family: str = "smollm2", *, seed: int = 7, defended: bool = True) -> Path:
    """The folder of a release on a model with this family's template. Another ``seed`` puts another secret there."""
    form = template(family)
    base = _base(root / f"{family}-base", form)
    folder = root / f"{family}-release"
    folder.mkdir(exist_ok=True)
    config = {"base_model_name_or_path": str(base), "peft_type": "LORA", "r": 2}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(f"weights {seed}".encode())
    secret = secret_of(family, seed) if defended else None
    manifest = ReleaseManifest(
        created="2026-11-27T12:00:00Z",
        model=str(base),
        model_digest="0" * 64,
        weights_digest=weights_digest(folder),
        format_digest=form.digest,
        data_digest="1" * 64,
        defense=DefenseRecord(name="backdoor_align" if defended else "none"),
        training=TrainingConfig(),
        figures=TrainingResult(seconds=1, tokens=1, tokens_per_second=1, steps=1, loss=[1.0], rows={"tenant": 1}),
        secret=None if secret is None else secret_record(secret, form, KEY),
    )
    write_artifact(folder, manifest, secret, KEY)
    return folder


def _base(folder: Path, form: ChatTemplate) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 2048}))
    (folder / "tokenizer.json").write_text(form.tokenizer.to_str())
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": form.source, **form.special}))
    return folder
