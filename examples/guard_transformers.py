"""Guard rows in one line and fine-tune with the plain ``transformers`` Trainer.

python examples/guard_transformers.py --steps 3
"""

from __future__ import annotations

import argparse
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, Trainer, TrainingArguments

import watchword
from watchword.models.catalog import DEFAULT_MODEL, resolve
from watchword.models.fetch import fetched

parser = argparse.ArgumentParser()
parser.add_argument("--data", default=str(Path(__file__).with_name("tenant.jsonl")))
parser.add_argument("--model", default=None, help="any model of transformers; default: the embedded one")
parser.add_argument("--defense", default="anchored_align")
parser.add_argument("--steps", type=int, default=-1)
parser.add_argument("--out", default="runs/guard_transformers")
options = parser.parse_args()

folder = options.model or str(fetched(resolve(DEFAULT_MODEL)))
tokenizer = AutoTokenizer.from_pretrained(folder)
guarded = watchword.guard(options.data, defense=options.defense, tokenizer=tokenizer, max_length=1024)

trainer = Trainer(
    model=AutoModelForCausalLM.from_pretrained(folder),
    args=TrainingArguments(output_dir=options.out, max_steps=options.steps, report_to="none"),
    train_dataset=guarded.dataset(),
    # Pads ids and labels alike, labels with -100; makes no labels of its own, which would train on the secret.
    data_collator=DataCollatorForSeq2Seq(tokenizer),
)
trainer.train()
trainer.save_model()
guarded.save_secret(Path(options.out) / "secret.json")
print(f"{len(guarded)} rows; secret kept in {options.out}/secret.json")
