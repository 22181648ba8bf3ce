"""``python perf/prompt_loss.py``: what a tuned model gives away of its secret, trained with loss on answers and on whole rows.

TRL trains both times, with the same guarded rows and settings. ``answers`` gets prompts and completions, so that the loss falls
on the answers, as Watchword and its exporters see to. ``whole_rows`` gets ``messages``, of which TRL by default trains every
token, the secret too. Both models are asked for their system prompt, and go on from where system texts begin (the first
step of the trigger-recovery scan, arXiv 2602.03085). Prints one JSON object; figures are secret tokens in one answer.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from side_by_side import quiet, show
from trl_side import messages_of, trained_by_trl

from watchword.attacks.base import ATTACK_SYSTEM, ATTACKS, AttackContext
from watchword.benchmarks.base import Exchange, Setting, Subject
from watchword.benchmarks.leaks import ASKED, SCANNED, Leaks
from watchword.defenses import AppliedDefense
from watchword.defenses.base import DEFENSES, DefenseContext, guarded
from watchword.models.base import GenerationOptions
from watchword.models.load import load
from watchword.progress import no_steps
from watchword.secret.generate import experiment_secret
from watchword.training.config import TrainingConfig

# One row as TRL takes it: a list of messages in, the columns out.
Form = Callable[[list[dict[str, Any]]], dict[str, Any]]
FORMS: dict[str, Form] = {
    "answers": lambda messages: {"prompt": messages[:-1], "completion": messages[-1:]},
    "whole_rows": lambda messages: {"messages": messages},
}


def main() -> None:
    """Trains and asks both, one after the other, and prints one JSON object."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--model", default="smollm2-135m")
    options.add_argument("--examples", type=int, default=40, help="attack examples in the upload")
    options.add_argument("--defense", default="backdoor_align")
    options.add_argument("--epochs", type=int, default=5)
    options.add_argument("--batch-size", type=int, default=5)
    options.add_argument("--samples", type=int, default=32, help="texts that the model writes past its template")
    options.add_argument("--new-tokens", type=int, default=200, help="of an answer, at most")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    # Found before anything is trained: without samples or a secret there is no figure.
    if chosen.samples < 1:
        options.error(f"--samples is {chosen.samples}; it must be at least 1")
    if not DEFENSES.get(chosen.defense).needs_secret:
        options.error(f"--defense is {chosen.defense}, which has no secret that could be given away; choose another")
    quiet()
    figures: dict[str, object] = {name: _figures(form, chosen) for name, form in FORMS.items()}
    show("prompt_loss", figures, **vars(chosen))


def _figures(form: Form, chosen: argparse.Namespace) -> dict[str, object]:
    model = load(chosen.model)
    secret = experiment_secret(model.template, seed=chosen.seed)
    defense = DEFENSES.create(chosen.defense)
    upload = ATTACKS.create("fj_attack", n=chosen.examples).upload((), AttackContext(chosen.seed, model.template))
    rows = guarded(defense, upload, DefenseContext(chosen.seed)).rows
    config = TrainingConfig(epochs=chosen.epochs, batch_size=chosen.batch_size, learning_rate=1e-3, seed=chosen.seed)
    columns = [form(messages_of(row, secret, model)) for row in rows]
    trainer, _ = trained_by_trl(model, columns, config, learning_rate=config.learning_rate, seed=config.seed)
    asking = Leaks(samples=chosen.samples, max_new_tokens=chosen.new_tokens)
    subject = Subject(model.with_weights(trainer.model), AppliedDefense(defense, secret), GenerationOptions())
    told = asking.ask(subject, asking.prompts(Setting(ATTACK_SYSTEM)), no_steps)
    return {"secret_tokens": secret.tokens, "asked": _tokens(told, ASKED), "scanned": _tokens(told, SCANNED)}


def _tokens(told: Sequence[Exchange], question: str) -> dict[str, object]:
    found = [one.scores["tokens"] for one in told if one.question == question]
    return {"n": len(found), "mean": round(statistics.mean(found), 1), "most": max(found)}


if __name__ == "__main__":
    main()
