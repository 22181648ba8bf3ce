"""Runs every cell of a spec that has not been run before, and keeps the results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from watchword.attacks.base import AttackContext
from watchword.benchmarks.base import chosen_benchmarks, registered
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Row
from watchword.data.upload import Upload
from watchword.defenses.base import DEFENSES, Defense, DefenseContext, rows_to_add
from watchword.finetune.launch.base import LAUNCHERS
from watchword.lab.cell import attack_of, run_cell
from watchword.lab.remote import RemoteBench, place_digest
from watchword.lab.spec import NO_ATTACK, Cell, Spec, complete
from watchword.lab.store import CellResult, Store
from watchword.lab.workers import CellRunner, cells_at_once, run_side_by_side
from watchword.models.digest import model_digest
from watchword.models.facts import facts_of
from watchword.progress import Step
from watchword.safety.library import digest
from watchword.secret.prompt import SecretPrompt
from watchword.training.base import Trained, Trainer, TrainingTask
from watchword.training.config import TrainingConfig
from watchword.training.events import StepDone, TrainingEvent

# Part of every cell's key; raise it when code changes what a cell measures.
METHOD = "3"


def run_spec(
    spec: Spec, store: Store, *, lanes: Callable[[int], Step], say: Callable[[str], None], jobs: int | None = None
) -> list[CellResult]:
    """The results of all cells, in the spec's order; finished ones come from the store.

    ``jobs`` cells run at once, each in a process of its own; None takes what fits the machine, 1 runs them in this process.
    ``lanes(n)`` reports the steps of the n-th of them, ``say`` gets a line a cell.
    """
    model = place_digest(spec, spec.remote) if spec.remote else model_digest(spec.model)
    fingerprint = {"method": METHOD, "data": digest(), "model": model, **_digests(spec)}
    # Every name and argument is checked before the first cell is run.
    cells = [complete(cell) for cell in spec.cells()]
    keys = [store.key(cell, fingerprint) for cell in cells]
    found = {key: result for key in keys if (result := store.get(key)) is not None}
    for key, cell in zip(keys, cells, strict=True):
        if key in found:
            say(f"{label(cell)}: re-used")
    missing = {key: cell for key, cell in zip(keys, cells, strict=True) if key not in found}
    costs = _rehearsed(spec.remote.tokenizer if spec.remote else spec.model, missing)
    bench: CellRunner
    if spec.remote:
        # One at a time: all cells have one cap.
        bench, jobs = RemoteBench(spec.model, spec.remote, store, fingerprint), 1
    else:
        bench = Bench(spec.model, store, fingerprint)

    def finished(key: str, result: CellResult) -> None:
        found[key] = result
        say(f"[{len(found)}/{len(set(keys))}] {label(missing[key])}: {_figures(result)}")

    at_once = jobs or cells_at_once(len(missing))
    if at_once > 1 and len(missing) > 1:
        # The longest first, so that the last to end is a short one.
        tasks = sorted(missing.items(), key=lambda task: -costs[task[0]])
        run_side_by_side(bench, tasks, min(at_once, len(missing)), lanes=lanes, label=label, finished=finished)
    else:
        for key, cell in missing.items():
            say(label(cell))
            finished(key, bench.run(cell, key, lanes(0)))
    return [found[key] for key in keys]


def label(cell: Cell) -> str:
    """What progress calls a cell."""
    name = "the aligned model" if cell.attack.name == NO_ATTACK else f"{cell.attack.name} × {cell.defense.name}"
    return f"{name}, seed {cell.seed}"


def _digests(spec: Spec) -> dict[str, str]:
    """Of the files that benchmarks read, by the benchmark's name."""
    found = {f"benchmark {name}": own.digest() for name, own in chosen_benchmarks(spec.evaluation.benchmarks).items()}
    return {name: own for name, own in found.items() if own}


def _figures(result: CellResult) -> str:
    """The first metric of each benchmark."""
    firsts = [benchmark.metrics[0] for benchmark in registered().values()]
    rates = [(metric.short or metric.heading, result.metrics.get(metric.name)) for metric in firsts]
    return ", ".join(
        f"{name} {'unscored' if rate.value is None else f'{rate.value:.1f} %'}"
        for name, rate in rates
        if rate is not None
    )


class Bench:
    """The model that the cells are run on, loaded when the first cell needs it and given back clean by each.

    ``launcher`` is the name of what trains them, since a bench travels to the processes that run cells.
    """

    def __init__(
        self, name: str, store: Store, fingerprint: Mapping[str, str], *, launcher: str = "in_process"
    ) -> None:
        self.name, self.store, self.fingerprint, self.launcher = name, store, fingerprint, launcher
        self.model: Any = None

    def run(self, cell: Cell, key: str, step: Step) -> CellResult:
        """Runs one cell and stores it."""
        self._load(step)
        with self.store.run_folder(key) as folder:
            training = _CellTraining(self.name, self.model, folder, LAUNCHERS.create(self.launcher))
            try:
                result, answers = run_cell(cell, self.model, training, step=step)
            finally:
                self.model = training.restored()
        return self.store.put(key, cell, result, answers, fingerprint=self.fingerprint)

    def _load(self, step: Step) -> None:
        from watchword.models.load import load

        if self.model is None:
            step("loading the model", 0, 1)
            self.model = load(self.name)
            step("loading the model", 1, 1)


def _rehearsed(model: str, cells: Mapping[str, Cell]) -> dict[str, int]:
    """How many rows each cell will look at, roughly; a wrong argument is found here, before the first cell is run."""
    if not cells:
        return {}
    template = facts_of(model).template
    return {key: rehearse(cell, template) for key, cell in cells.items()}


def rehearse(cell: Cell, template: ChatTemplate) -> int:
    """Draws a cell's upload and provider rows without a model, and counts their passages through training.

    Rows that only the model can write are not among them. Raises UsageError for numbers that there are not.
    """
    attack = attack_of(cell)
    if attack is None or cell.training is None:
        return 0
    rows = [Row(conv) for conv in attack.upload((), AttackContext(cell.seed, template))]
    # Examples that the model is to write itself are drawn from the packaged ones here.
    told = {name: "category" if value == "generated" else value for name, value in cell.defense.arguments.items()}
    defense = DEFENSES.create(cell.defense.name, **told)
    added = rows_to_add(defense, Upload.of(rows), DefenseContext(cell.seed))
    return (len(rows) + len(added)) * cell.training.epochs


class _CellTraining:
    """``cell.Train`` by the bench's trainer."""

    def __init__(self, name: str, model: Any, folder: Path, trainer: Trainer) -> None:
        self.name, self.model, self.folder, self.trainer = name, model, folder, trainer
        self.tuned: Any = None
        self.changed = False

    def __call__(
        self, rows: Sequence[Row], config: TrainingConfig, defense: Defense, secret: SecretPrompt | None, step: Step
    ) -> Any:
        def tell(event: TrainingEvent) -> None:
            if isinstance(event, StepDone):
                step("fine-tuning", event.step, event.total)

        self.changed = self.trainer.takes_loaded_models
        task = TrainingTask(self.name, rows, config, self.folder, secret, defense.training_hooks().callbacks)
        trained = self.trainer.train(task, loaded=self.model, events=tell)
        self.tuned = trained.model if config.method == "lora" else None
        return self._guarded(defense, trained, config), trained.result

    def _guarded(self, defense: Defense, trained: Trained, config: TrainingConfig) -> Any:
        """The model with the weights that the defense would have served: read back from where it left them."""
        from watchword.models.load import load

        folder = trained.folder
        if type(defense).guard_weights is not Defense.guard_weights:
            folder = defense.guard_weights(folder, self.model)
        elif trained.model is not None:
            return trained.model
        return load(self.name, adapter=folder) if config.method == "lora" else load(folder)

    def restored(self) -> Any:
        """The model as it was; None if it must be loaded again: tuned as a whole, or training broke off."""
        if not self.changed:
            return self.model
        return self.tuned.without_adapter() if self.tuned is not None else None
