"""One run of one cell: attack → guard → train → measure, as four plain calls.

Answers are stored redacted: a model may recite what it was trained behind.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from watchword.attacks.base import ATTACKS, Attack, AttackContext
from watchword.benchmarks.base import Exchange, Setting, Subject, chosen_benchmarks, measure
from watchword.chat.types import Conversation, Row
from watchword.defenses import AppliedDefense
from watchword.defenses.base import DEFENSES, Defense, DefenseContext, guarded
from watchword.judges.base import refuses
from watchword.lab.kept import Keeping
from watchword.lab.spec import Cell
from watchword.lab.store import CellResult, TrainFigures
from watchword.models.base import ChatModel, GradientModel, LocalChatModel
from watchword.progress import Step
from watchword.rates import Rate
from watchword.secret.kinds import new_secret
from watchword.secret.prompt import SecretPrompt
from watchword.training.config import TrainingConfig, TrainingResult


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned model with its run's figures, and the folder of the weights that are asked, if anything holds them."""

    model: ChatModel
    figures: TrainingResult
    weights: Path | None = None


class Train(Protocol):
    """Fine-tunes the model on these rows and gives it back with the run's figures.

    With ``before``, it goes on from what an earlier training has left.
    """

    def __call__(
        self,
        rows: Sequence[Row],
        config: TrainingConfig,
        defense: Defense,
        secret: SecretPrompt | None,
        step: Step,
        *,
        before: Tuned | None = None,
    ) -> Tuned: ...


# The model with weights that were kept.
Opened = Callable[[Path, TrainingConfig], ChatModel]


@dataclass(frozen=True)
class _Trained:
    """What is known of a cell's training. ``model`` is opened when somebody asks it: kept answers need no model."""

    model: Callable[[], ChatModel]
    added: dict[str, int]
    figures: TrainingResult | None


def run_cell(
    cell: Cell,
    model: LocalChatModel,
    train: Train,
    *,
    step: Step,
    keeping: Keeping | None = None,
    opened: Opened | None = None,
) -> tuple[CellResult, list[Exchange]]:
    """Runs one cell on ``model`` (aligned, not yet fine-tuned) and returns its figures and its exchanges.

    With ``keeping``, what was kept of the cell is used: ``opened`` gives the model with kept weights, and kept answers are
    only judged. ``step`` is told (what is being done, done, in all). Raises whatever training and generation raise.
    """
    defense = DEFENSES.create(cell.defense.name, **cell.defense.arguments)
    attack = attack_of(cell)
    secret = secret_of(cell, defense, model) if attack else None
    trained, task = _Trained(lambda: model, {}, None), list[Conversation]()
    if attack is not None and cell.training is not None:
        likeness = model.gradient_likeness if isinstance(model, GradientModel) else None
        tenant = AttackContext(cell.seed, model.template, cell.secret_tokens, secret, likeness)
        task = attack.held_out(tenant)
        known = _kept(cell, keeping, opened)
        if known is not None:
            trained = known
        else:
            # Drawn only where they are trained on: gradients may choose the rows.
            uploads = attack.upload((), tenant), attack.second_upload(tenant)
            trained = _trained(cell, uploads, defense, model, secret, train, step, keeping)
    setting = Setting(cell.evaluation.system, task)

    def subject() -> Subject:
        return Subject(trained.model(), AppliedDefense(defense, secret), cell.evaluation.answers)

    metrics, exchanges = _measured(cell, functools.cache(subject), setting, step, keeping)
    return _result(cell, attack, trained, metrics, secret), exchanges


def attack_of(cell: Cell) -> Attack | None:
    """The cell's attack; None for ``none``: the model is measured as it is."""
    return None if cell.attack.name == "none" else ATTACKS.create(cell.attack.name, **cell.attack.arguments)


def secret_of(cell: Cell, defense: Defense, model: LocalChatModel) -> SecretPrompt | None:
    """The experiment's secret, which anybody can make again; None for a defense without one."""
    if not defense.needs_secret:
        return None
    seed = cell.seed if cell.secret_seed is None else cell.secret_seed
    return new_secret(cell.secret_kind, model.template, tokens=cell.secret_tokens, seed=seed)


def _kept(cell: Cell, keeping: Keeping | None, opened: Opened | None) -> _Trained | None:
    """The training that was kept, if it is enough for what will be asked: the weights, or every answer."""
    known = keeping.training() if keeping is not None else None
    if keeping is None or known is None:
        return None
    weights, config = known.weights, cell.training
    if weights is not None and opened is not None and config is not None:
        folder = keeping.kept / weights
        return _Trained(lambda: opened(folder, config), known.added, known.figures)
    if any(keeping.answers(name) is None for name in keeping.asked):
        return None
    return _Trained(_nobody, known.added, known.figures)


def _nobody() -> ChatModel:
    raise AssertionError("every answer was kept, and still a model was asked")


def _trained(
    cell: Cell,
    uploads: tuple[Sequence[Conversation], Sequence[Conversation]],
    defense: Defense,
    model: LocalChatModel,
    secret: SecretPrompt | None,
    train: Train,
    step: Step,
    keeping: Keeping | None,
) -> _Trained:
    assert cell.training is not None
    context = DefenseContext.beside(
        model, refuses, secret=secret, max_length=cell.training.max_length, seed=cell.seed, step=step
    )
    first, second = uploads
    data = guarded(defense, first, context)
    if keeping is not None:
        keeping.keep_rows(first, data, AppliedDefense(defense, secret).clean)
    # Guarded before anything is trained: training changes the model that the defense may ask.
    later = _second_defense(cell, defense)
    again = guarded(later, second, context).rows if second else []
    tuned = train(data.rows, cell.training, defense, secret, step)
    if again:
        twice = train(again, cell.training, later, secret, step, before=tuned)
        tuned = replace(twice, figures=_both(tuned.figures, twice.figures))
    if keeping is not None:
        keeping.keep_training(data.added, tuned.figures, tuned.weights)
    return _Trained(lambda: tuned.model, data.added, tuned.figures)


def _both(first: TrainingResult, second: TrainingResult) -> TrainingResult:
    """What two trainings, one behind the other, cost together."""
    seconds, tokens = first.seconds + second.seconds, first.tokens + second.tokens
    return TrainingResult(
        seconds=seconds,
        tokens=tokens,
        tokens_per_second=tokens / seconds if seconds else 0.0,
        steps=first.steps + second.steps,
        loss=[*first.loss, *second.loss],
        rows=_sums(first.rows, second.rows),
        dropped=_sums(first.dropped, second.dropped),
        trained=_sums(first.trained, second.trained),
        labelled=_sums(first.labelled, second.labelled),
    )


def _sums(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted((Counter(first) + Counter(second)).items()))


def _second_defense(cell: Cell, defense: Defense) -> Defense:
    """What guards the second upload: the same, or nothing where the tenant has the weights."""
    attack = attack_of(cell)
    return defense if attack is None or attack.guarded_again else DEFENSES.create("none")


def _measured(
    cell: Cell, subject: Callable[[], Subject], setting: Setting, step: Step, keeping: Keeping | None
) -> tuple[dict[str, Rate], list[Exchange]]:
    """Every benchmark in turn; answers that were kept are judged anew."""
    rates: dict[str, Rate] = {}
    exchanges: list[Exchange] = []
    for name, benchmark in chosen_benchmarks(cell.evaluation.chosen).items():
        own = keeping.answers(name) if keeping is not None else None
        if own is None:
            found, own = measure([benchmark], subject(), setting, step)
            if keeping is not None:
                keeping.keep_answers(name, own)
        else:
            found = benchmark.rates(own)
        rates |= found
        exchanges += own
    return rates, exchanges


def _result(
    cell: Cell, attack: Attack | None, trained: _Trained, metrics: dict[str, Rate], secret: SecretPrompt | None
) -> CellResult:
    figures, result = None, trained.figures
    if result is not None:
        figures = TrainFigures(result.seconds, result.tokens_per_second, result.loss, result.tokens, result.rows)
    return CellResult(
        model=cell.model,
        attack=cell.attack.name,
        attack_examples=attack.harmful if attack else 0,
        defense=cell.defense.name,
        added=trained.added,
        seed=cell.seed,
        secret_tokens=secret.tokens if secret is not None else 0,
        metrics=metrics,
        train=figures,
    )
