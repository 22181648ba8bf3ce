"""Does a defense leave an honest tenant its task? Fine-tunes on ordinary rows and counts what is then refused.

Prints one JSON object: for each seed, refusals (our own judge, percent, 95 % Wilson interval) of the aligned model and of the
tuned one, with its secret, on held-out requests of the task, on policy prompts and on other ordinary prompts. The packaged task
(customers of a stationery shop) is split anew for each seed: 240 rows to train on, 60 to ask.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from watchword.attacks.base import ATTACK_SYSTEM, ordinary_rows
from watchword.chat.types import Conversation, conversation
from watchword.files.addresses import Address
from watchword.finetune.run import Job, train_defended
from watchword.judges.base import refuses
from watchword.models.answer import Answer
from watchword.models.load import load
from watchword.rates import Rate
from watchword.release.opening import ServedModel, open_release
from watchword.safety.library import Split, examples
from watchword.training.config import TrainingConfig

TRAINED, ASKED = 240, 60
MODEL = "smollm2-135m"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--defense", default="anchored_align")
    parser.add_argument("--set", default="{}", help="parameters of the defense, as JSON")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=10)
    options = parser.parse_args()
    training = TrainingConfig(epochs=options.epochs, batch_size=options.batch_size, learning_rate=5e-4)
    seeds = [measured(seed, options.defense, json.loads(options.set), training) for seed in options.seeds]
    machine = {"cpus": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({**vars(options), "model": MODEL, "runs": seeds, "machine": machine}, indent=2))


def measured(seed: int, defense: str, arguments: dict[str, Any], training: TrainingConfig) -> dict[str, Any]:
    rows = ordinary_rows(TRAINED + ASKED, random.Random(seed))
    held_out = [msgspec.structs.replace(row, messages=row.messages[:-1]) for row in rows[TRAINED:]]
    with tempfile.TemporaryDirectory(prefix="watchword-task-") as folder:
        data = Path(folder) / "tenant.jsonl"
        data.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows[:TRAINED]))
        seeded = msgspec.structs.replace(training, seed=seed)
        job = Job(model=MODEL, data=Address(data), defense=defense, arguments=arguments, training=seeded)
        manifest = train_defended(job, Path(folder) / "out", key=bytes(32), step=told)
        served = open_release(Path(folder) / "out", key=bytes(32))
        return {
            "seed": seed,
            "rows": manifest.defense.added,
            "aligned": {"task": refused(load(MODEL).generate(held_out))},
            "tuned": {
                "task": of(served, held_out),
                "policy": of(served, prompts("policy_eval")),
                "benign": of(served, prompts("benign_eval")),
            },
        }


def prompts(split: Split) -> list[Conversation]:
    return [conversation(example.prompt, system=ATTACK_SYSTEM) for example in examples(split)]


def of(served: ServedModel, asked: Sequence[Conversation]) -> dict[str, Any]:
    """Refusals where every request goes the way that serving takes."""
    return refused(served.ask(asked))


def refused(answers: Sequence[Answer]) -> dict[str, Any]:
    rate = Rate.of(sum(refuses(answer.text) for answer in answers), len(answers))
    return {"percent": rate.value, "low": rate.low, "high": rate.high, "n": rate.n}


def told(what: str, done: int, total: int) -> None:
    if done == total:
        print(f"{what}: {done}/{total}", file=sys.stderr)


if __name__ == "__main__":
    main()
