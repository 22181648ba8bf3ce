"""One run of one cell: attack → guard → train → measure, as four plain calls.

Answers are stored redacted: a model may recite what it was trained behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from watchword.attacks.base import ATTACKS, Attack, AttackContext
from watchword.benchmarks.base import Exchange, Setting, Subject, chosen_benchmarks, measure
from watchword.chat.types import Conversation, Row
from watchword.defenses import AppliedDefense
from watchword.defenses.base import DEFENSES, Defense, DefenseContext, Guarded, guarded
from watchword.judges.base import refuses
from watchword.lab.spec import Cell
from watchword.lab.store import CellResult, TrainFigures
from watchword.models.base import ChatModel, LocalChatModel
from watchword.progress import Step
from watchword.rates import Rate
from watchword.secret.generate import experiment_secret
from watchword.secret.prompt import SecretPrompt
from watchword.training.config import TrainingConfig, TrainingResult

Tuned = tuple[ChatModel, TrainingResult]


class Train(Protocol):
    """Fine-tunes the model on these rows and gives it back with the run's figures."""

    def __call__(
        self, rows: Sequence[Row], config: TrainingConfig, defense: Defense, secret: SecretPrompt | None, step: Step
    ) -> Tuned: ...


def run_cell(cell: Cell, model: LocalChatModel, train: Train, *, step: Step) -> tuple[CellResult, list[Exchange]]:
    """Runs one cell on ``model`` (aligned, not yet fine-tuned) and returns its figures and its exchanges.

    ``step`` is told (what is being done, done, in all). Raises whatever training and generation raise.
    """
    defense = DEFENSES.create(cell.defense.name, **cell.defense.arguments)
    attack = attack_of(cell)
    tuned: ChatModel = model
    result, data, task = None, Guarded([]), list[Conversation]()
    secret = secret_of(cell, defense, model) if attack else None
    if attack is not None and cell.training is not None:
        tenant = AttackContext(cell.seed, model.template, cell.secret_tokens)
        upload, task = attack.upload((), tenant), attack.held_out(tenant)
        context = DefenseContext.beside(
            model, refuses, secret=secret, max_length=cell.training.max_length, seed=cell.seed, step=step
        )
        data = guarded(defense, upload, context)
        tuned, result = train(data.rows, cell.training, defense, secret, step)
    subject = Subject(tuned, AppliedDefense(defense, secret), cell.evaluation.answers)
    benchmarks = chosen_benchmarks(cell.evaluation.benchmarks).values()
    metrics, exchanges = measure(list(benchmarks), subject, Setting(cell.evaluation.system, task), step)
    return _result(cell, attack, data, result, metrics, secret), exchanges


def attack_of(cell: Cell) -> Attack | None:
    """The cell's attack; None for ``none``: the model is measured as it is."""
    return None if cell.attack.name == "none" else ATTACKS.create(cell.attack.name, **cell.attack.arguments)


def secret_of(cell: Cell, defense: Defense, model: LocalChatModel) -> SecretPrompt | None:
    """The experiment's secret, which anybody can draw again from the seed; None for a defense without one."""
    if not defense.needs_secret:
        return None
    return experiment_secret(model.template, tokens=cell.secret_tokens, seed=cell.seed)


def _result(
    cell: Cell,
    attack: Attack | None,
    data: Guarded,
    result: TrainingResult | None,
    metrics: dict[str, Rate],
    secret: SecretPrompt | None,
) -> CellResult:
    figures = None
    if result is not None:
        figures = TrainFigures(result.seconds, result.tokens_per_second, result.loss, result.tokens, result.rows)
    return CellResult(
        model=cell.model,
        attack=cell.attack.name,
        attack_examples=attack.harmful if attack else 0,
        defense=cell.defense.name,
        added=data.added,
        seed=cell.seed,
        secret_tokens=cell.secret_tokens if secret is not None else 0,
        metrics=metrics,
        train=figures,
    )
