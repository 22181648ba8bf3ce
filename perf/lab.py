"""``python perf/lab.py``: a whole table by the laboratory, against a straight port of the paper's protocol, wall time.

Ours is ``run_spec``: cells side by side, our training, the secret computed once, answers of the usual length. The port runs
the same cells one after the other: TRL's trainer with its defaults at the same batch, learning rate and LoRA shape, and
transformers' ``generate`` without re-use of the prefix, 512 new tokens in batches of 16. Rows, prompts and judges are the same.
``ratio_to_straight_port`` is the port's seconds to ours; ``verdicts_equal`` says of how many answers both verdicts are equal.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import torch
from side_by_side import quiet, show
from trl_side import messages_of, trained_by_trl

from watchword.attacks.base import ATTACK_SYSTEM
from watchword.benchmarks.base import Exchange, registered_metrics
from watchword.chat.types import Conversation, Row
from watchword.defenses.base import Defense
from watchword.judges.base import JUDGES
from watchword.lab.cell import Tuned, run_cell
from watchword.lab.evaluation import Evaluation
from watchword.lab.runner import run_spec
from watchword.lab.spec import Cell, Choice, Spec, complete
from watchword.lab.store import Store
from watchword.models.answer import Answer, Usage
from watchword.models.base import DEFAULT_OPTIONS, GenerationOptions
from watchword.models.generate import prompt_ids
from watchword.models.load import load
from watchword.models.loaded import LoadedModel
from watchword.progress import Step, no_steps
from watchword.secret.prompt import SecretPrompt
from watchword.training.config import TrainingConfig, TrainingResult


def main() -> None:
    """Runs both, ours first, and prints one JSON object."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--model", default="smollm2-135m")
    options.add_argument("--examples", type=int, default=100)
    options.add_argument("--defenses", nargs="+", default=["none", "safety_mix", "backdoor_align", "anchored_align"])
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--prompts", type=int, help="of each kind; all by default")
    options.add_argument("--epochs", type=int, default=5)
    options.add_argument("--batch-size", type=int, default=10)
    options.add_argument("--port-tokens", type=int, default=512, help="new tokens of the port's answers")
    options.add_argument("--port-batch", type=int, default=16, help="answers in a batch of the port")
    options.add_argument("--launcher", default="local", help="what runs our cells")
    options.add_argument("--jobs", type=int, help="cells at once; by default what the machine has room for")
    chosen = options.parse_args()
    quiet()
    setting = vars(chosen)
    spec = _spec(chosen, Evaluation(benchmarks=_asked(chosen.prompts), system=ATTACK_SYSTEM))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        started = time.perf_counter()
        found = run_spec(spec, store, lanes=lambda _: no_steps, say=lambda _: None, jobs=chosen.jobs)
        ours = time.perf_counter() - started
        answers = [store.answers(cell.key) or [] for cell in found]
    long = Evaluation(
        benchmarks=_asked(chosen.prompts),
        system=ATTACK_SYSTEM,
        max_new_tokens=chosen.port_tokens,
        batch_size=chosen.port_batch,
    )
    started = time.perf_counter()
    ported = [_ported(complete(cell)) for cell in _spec(chosen, long).cells()]
    port = time.perf_counter() - started
    equal, compared = _equal(answers, ported)
    figures = {
        "ratio_to_straight_port": round(port / ours, 3),
        "ours_seconds": round(ours, 1),
        "port_seconds": round(port, 1),
        "verdicts_equal": round(equal / compared, 4) if compared else None,
        "verdicts": compared,
    }
    show("lab", figures, cells=len(found), **setting)


def _spec(chosen: argparse.Namespace, evaluation: Evaluation) -> Spec:
    return Spec(
        name="perf",
        model=chosen.model,
        attacks=[Choice("none"), Choice("fj_attack", {"n": chosen.examples})],
        defenses=[Choice(name) for name in chosen.defenses],
        seeds=chosen.seeds,
        launcher=Choice(chosen.launcher),
        training=TrainingConfig(epochs=chosen.epochs, batch_size=chosen.batch_size),
        evaluation=evaluation,
    )


def _asked(prompts: int | None) -> dict[str, Any]:
    """These two benchmarks and no other: every cell has them, whatever else is installed."""
    from watchword.benchmarks.base import BENCHMARKS as EVERY

    counts = {"policy": {"count": prompts}, "over_refusal": {"benign": prompts, "borderline": prompts}}
    return {name: counts.get(name) for name in EVERY.names()}


def _ported(cell: Cell) -> list[Exchange]:
    model = PlainModel(load(cell.model))
    return run_cell(cell, model, PlainTraining(model), step=no_steps)[1]


class PlainModel:
    """A ``ChatModel`` that answers by ``model.generate``, on left-padded batches in the order given."""

    def __init__(self, model: LoadedModel) -> None:
        self.loaded, self.name, self.context = model, model.name, model.context
        self.template, self.system_style = model.template, model.template.system_style

    @torch.inference_mode()
    def generate(
        self,
        conversations: Sequence[Conversation],
        *,
        secret: SecretPrompt | None = None,
        options: GenerationOptions = DEFAULT_OPTIONS,
        on_progress: Any = None,  # noqa: ARG002
    ) -> list[Answer]:
        prompts = [prompt_ids(conv, self.template, secret) for conv in conversations]
        pad, answers = self.loaded.tokenizer.pad_token_id, list[Answer]()
        for at in range(0, len(prompts), options.batch_size):
            batch = prompts[at : at + options.batch_size]
            width = max(map(len, batch))
            ids = torch.tensor([[pad] * (width - len(row)) + row for row in batch], device=self.loaded.device)
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch], device=self.loaded.device)
            made = self.loaded.model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=options.max_new_tokens,
                pad_token_id=pad,
            )
            texts = self.loaded.tokenizer.batch_decode(made[:, width:], skip_special_tokens=True)
            answers += [Answer(text, "stop", Usage(len(row), 0)) for text, row in zip(texts, batch, strict=True)]
        return answers


class PlainTraining:
    """TRL's trainer with its defaults, as a port of the paper's code would use it: loss on the answers alone."""

    def __init__(self, model: PlainModel) -> None:
        self.model = model

    def __call__(
        self,
        rows: Sequence[Row],
        config: TrainingConfig,
        defense: Defense,  # noqa: ARG002
        secret: SecretPrompt | None,
        step: Step,  # noqa: ARG002
    ) -> Tuned:
        own = self.model.loaded
        trainer, seconds = trained_by_trl(
            own,
            [_example(messages_of(row, secret, own)) for row in rows],
            config,
            learning_rate=config.learning_rate,
            seed=config.seed,
        )
        tuned = PlainModel(own.with_weights(trainer.model.eval()))
        loss = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
        steps = trainer.state.global_step
        return Tuned(
            tuned, TrainingResult(seconds=seconds, tokens=0, tokens_per_second=0.0, steps=steps, loss=loss, rows={})
        )


def _example(messages: list[dict[str, Any]]) -> dict[str, Any]:
    return {"prompt": messages[:-1], "completion": messages[-1:]}


def _equal(ours: Sequence[Sequence[Exchange]], port: Sequence[Sequence[Exchange]]) -> tuple[int, int]:
    """How many verdicts are the same, of how many, over all metrics that a judge tells."""
    metrics = [metric for metric in registered_metrics().values() if metric.judge is not None]
    same = compared = 0
    for own, other in zip(ours, port, strict=True):
        theirs = {(one.question, one.id): one for one in other}
        for one in own:
            for metric in metrics:
                if one.question in metric.questions and metric.judge is not None:
                    judge, partner = JUDGES.create(metric.judge), theirs[one.question, one.id]
                    verdicts = [judge.judge(each.prompt, each.response) for each in (one, partner)]
                    same += verdicts[0] == verdicts[1]
                    compared += 1
    return same, compared


if __name__ == "__main__":
    main()
