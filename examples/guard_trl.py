"""Guard rows in one line and fine-tune with TRL's SFTTrainer.

    python examples/guard_trl.py --steps 3

Of a data set with ``labels`` TRL keeps the loss where Watchword put it. It cuts rows at its ``max_length`` and drops those whose
answers are gone, so both sides are given the same limit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

import watchword
from watchword.models.catalog import DEFAULT_MODEL, resolve
from watchword.models.fetch import fetched

parser = argparse.ArgumentParser()
parser.add_argument("--data", default=str(Path(__file__).with_name("tenant.jsonl")))
parser.add_argument("--model", default=None, help="any model of transformers; default: the embedded one")
parser.add_argument("--defense", default="anchored_align")
parser.add_argument("--steps", type=int, default=-1)
parser.add_argument("--out", default="runs/guard_trl")
options = parser.parse_args()

folder = options.model or str(fetched(resolve(DEFAULT_MODEL)))
tokenizer = AutoTokenizer.from_pretrained(folder)
guarded = watchword.guard(options.data, defense=options.defense, tokenizer=tokenizer, max_length=1024)
data = guarded.dataset()

config = SFTConfig(
    output_dir=options.out, max_length=1024, packing=False, max_steps=options.steps, bf16=False, report_to="none"
)
trainer = SFTTrainer(
    model=AutoModelForCausalLM.from_pretrained(folder), args=config, train_dataset=data, processing_class=tokenizer
)
assert len(trainer.train_dataset) == len(data), "rows were dropped: the run does not count"
trainer.train()
trainer.save_model()
guarded.save_secret(Path(options.out) / "secret.json")
print(f"{len(data)} rows, different ones of the provider: {guarded.added}; secret kept in {options.out}/secret.json")
