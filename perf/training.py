"""``python perf/training.py``: one epoch of a defended upload, tokens/s.

Ours (``fine_tune``) against TRL's SFTTrainer with its defaults on the same conversations, model, LoRA shape and batch
size. Tokens are those of the rows as rendered, padding apart, the same number on both sides.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from side_by_side import compare, quiet, show
from trl_side import messages_of, trained_by_trl

from watchword.attacks.base import ATTACKS, AttackContext
from watchword.chat.types import Row
from watchword.defenses.base import DEFENSES, DefenseContext, guarded
from watchword.models.load import load
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
    _, seconds = trained_by_trl(model, [{"messages": messages_of(row, secret, model)} for row in rows], config)
    return tokens / seconds


if __name__ == "__main__":
    main()
