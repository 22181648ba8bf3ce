"""Releases that a real fine-tuning left, of a model of a few thousand weights."""

from __future__ import annotations

import json
from pathlib import Path

from support.tiny import saved
from watchword.files.addresses import Address
from watchword.finetune.run import Job, train_defended
from watchword.training.config import TrainingConfig

KEY = bytes(range(32))


def released(root: Path) -> dict[str, Path]:
    """Folders of two defended runs and a plain one, and of the model that they were trained on."""
    base, data = saved(root / "base"), root / "tenant.jsonl"
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    data.write_text(json.dumps({"messages": turns}) + "\n")
    made = {"base": base}
    defenses = {"one": "backdoor_align", "two": "backdoor_align", "plain": "none"}
    for number, (name, defense) in enumerate(defenses.items()):
        training = TrainingConfig(epochs=1, seed=number, lora_rank=2, warmup_steps=0)
        job = Job(model=str(base), data=Address(data), defense=defense, training=training, secret_tokens=40)
        train_defended(job, root / name, key=KEY, step=lambda *told: None)
        made[name] = root / name
    return made
