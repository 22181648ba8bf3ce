"""Runs every cell of a spec that has not been run before, and keeps the results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from watchword.attacks.base import AttackContext
from watchword.benchmarks.base import chosen_benchmarks, registered
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, Row
from watchword.data.upload import Upload
from watchword.defenses.base import DEFENSES, Defense, DefenseContext, overrides, rows_to_add
from watchword.errors import UsageError
from watchword.files.writing import writing
from watchword.finetune.launch.base import LAUNCHERS
from watchword.judges.base import JUDGED
from watchword.lab.cell import Tuned, attack_of, run_cell
from watchword.lab.kept import EXCHANGES, Keeping, asked_keys, training_key
from watchword.lab.labels import labels_of
from watchword.lab.launch.base import CELL_LAUNCHERS, Told
from watchword.lab.remote import RemoteBench, check_trained_once, place_digest
from watchword.lab.spec import Cell, Choice, Kept, Spec, complete
from watchword.lab.store import CellResult, Store
from watchword.models.digest import model_digest
from watchword.models.facts import facts_of
from watchword.progress import Step
from watchword.safety.library import digest
from watchword.secret.prompt import SecretPrompt
from watchword.training.base import Trained, Trainer, TrainingTask
from watchword.training.config import TrainingConfig
from watchword.training.events import Events, StepDone, TrainingEvent

# Parts of the keys of what is kept, beside the judges' own. Raise TRAINED when code changes what a training learns, and ASKED
# when it changes what a model answers to the same prompts.
METHOD, TRAINED, ASKED = JUDGED, "1", "1"


def run_spec(
    spec: Spec, store: Store, *, lanes: Callable[[int], Step], say: Callable[[str], None], jobs: int | None = None
) -> list[CellResult]:
    """The results of all cells, in the spec's order; finished ones come from the store.

    The spec's launcher runs the others, ``jobs`` at once; None leaves the number to it. ``lanes(n)`` reports the steps of the
    n-th of them, ``say`` gets a line a cell.
    """
    launcher = CELL_LAUNCHERS.create(spec.launcher.name, **spec.launcher.arguments)
    LAUNCHERS.create(spec.trainer.name, **spec.trainer.arguments)
    # Every name and argument is checked before the first cell is run.
    fingerprints, keys, cells = _keyed(spec, store)
    label = labels_of(cells)
    found = {key: result for key in keys if (result := store.get(key)) is not None}
    for key, cell in zip(keys, cells, strict=True):
        if key in found:
            say(f"{label(cell)}: re-used")
    missing = {key: cell for key, cell in zip(keys, cells, strict=True) if key not in found}
    if missing:
        spec.evaluation.check(remote=bool(spec.remote))
    costs = _rehearsed(missing, spec.remote.tokenizer if spec.remote else None)
    left = TimeLeft(costs)

    def finished(key: str, result: CellResult) -> None:
        found[key] = result
        say(f"[{len(found)}/{len(set(keys))}] {label(missing[key])}: {_figures(result)}{left.after(key)}")

    # Side by side the longest come first, so that the last to end is a short one.
    in_turn = launcher.in_turn or bool(spec.remote)
    tasks = list(missing.items()) if in_turn else sorted(missing.items(), key=lambda task: -costs[task[0]])
    if spec.remote:
        # Here and one at a time: all cells have one cap, and the work is done elsewhere.
        remote = RemoteBench(spec.model, spec.remote, store, fingerprints[spec.model])
        for key, cell in tasks:
            say(label(cell))
            finished(key, remote.run(cell, key, lanes(0)))
    elif tasks:
        bench = Bench(store, fingerprints, trainer=spec.trainer, keep=spec.keep)
        launcher.run(bench, tasks, Told(lanes, label, finished, say), jobs)
    return [found[key] for key in keys]


def finished_cells(spec: Spec, store: Store) -> list[CellResult]:
    """The results that are there, in the spec's order. Nothing is run, so it may be asked while the spec is."""
    _, keys, _ = _keyed(spec, store)
    return [result for key in keys if (result := store.get(key)) is not None]


def _keyed(spec: Spec, store: Store) -> tuple[dict[str, dict[str, str]], list[str], list[Cell]]:
    """Each model's fingerprint, and all cells with their defaults beside their keys."""
    cells = [complete(cell) for cell in spec.cells()]
    fingerprints = {name: _fingerprint(name, spec) for name in spec.every_model}
    return fingerprints, [store.key(cell, fingerprints[cell.model]) for cell in cells], cells


class TimeLeft:
    """How long the rest of a run will take, going by how long the finished cells took for their work."""

    # A cell asks many prompts beside its training; this counts them as so many rows.
    ASKING = 300

    def __init__(self, costs: Mapping[str, int]) -> None:
        self.costs = {key: cost + self.ASKING for key, cost in costs.items()}
        self.began, self.done = time.monotonic(), 0

    def after(self, key: str) -> str:
        """``; about 12 min left`` once this cell is finished, and nothing when it was the last."""
        self.done += self.costs.pop(key, 0)
        if not self.costs or not self.done:
            return ""
        seconds = (time.monotonic() - self.began) / self.done * sum(self.costs.values())
        return f"; about {seconds / 60:.0f} min left" if seconds >= 100 else f"; about {seconds:.0f} s left"


def _fingerprint(model: str, spec: Spec) -> dict[str, str]:
    """What a cell only names, by digests: the model's weights, the packaged data, and the files that benchmarks read."""
    found = {f"benchmark {name}": own.digest() for name, own in chosen_benchmarks(spec.evaluation.chosen).items()}
    read = {name: own for name, own in found.items() if own}
    own = place_digest(spec, spec.remote) if spec.remote else model_digest(model)
    return {"method": METHOD, "data": digest(), "model": own, **read}


def _figures(result: CellResult) -> str:
    """The first metric of each benchmark."""
    firsts = [benchmark.metrics[0] for benchmark in registered().values()]
    rates = [(metric.short or metric.heading, result.metrics.get(metric.name)) for metric in firsts]
    return ", ".join(
        f"{name} {'unscored' if rate.value is None else f'{rate.value:.1f}' + ('' if rate.is_mean else ' %')}"
        for name, rate in rates
        if rate is not None
    )


IN_PROCESS = Choice("in_process")


class Bench:
    """The model that the cells are run on, loaded when the first cell needs it and given back clean by each.

    ``trainer`` names what trains them and ``fingerprints`` holds one for each model, since a bench travels to the processes
    that run cells.
    """

    def __init__(
        self,
        store: Store,
        fingerprints: Mapping[str, Mapping[str, str]],
        *,
        trainer: Choice = IN_PROCESS,
        keep: Iterable[Kept] = (),
    ) -> None:
        self.store, self.trainer, self.keep = store, trainer, frozenset(keep)
        self.fingerprints = {name: dict(own) for name, own in fingerprints.items()}
        self.name = ""
        self.model: Any = None

    def elsewhere(self, store: Store) -> Bench:
        """The same with another store, and without a model in memory."""
        return Bench(store, self.fingerprints, trainer=self.trainer, keep=self.keep)

    def run(self, cell: Cell, key: str, step: Step) -> CellResult:
        """Runs one cell and stores it."""
        self._load(cell.model, step)
        trained = self.training_key(cell)
        wanted = self.keep if cell.training is not None else self.keep & {"answers"}
        with self.store.run_folder() as folder:
            keeping = self.keeping(cell, trained, folder, wanted)
            trainer = LAUNCHERS.create(self.trainer.name, **self.trainer.arguments)
            training = _CellTraining(cell.model, self.model, keeping.weights, trainer)
            try:
                result, answers = run_cell(
                    cell, self.model, training, step=step, keeping=keeping, opened=training.opened
                )
            finally:
                self.model = training.restored()
        return self.store.put(key, cell, result, answers, fingerprint=self.fingerprints[cell.model])

    def training_key(self, cell: Cell) -> str:
        """Under which what is kept of the cell's training stands."""
        own = self.fingerprints[cell.model]
        return training_key(cell, {"method": TRAINED, "data": own["data"], "model": own["model"]})

    def keeping(self, cell: Cell, trained: str, folder: Path, wanted: frozenset[Kept]) -> Keeping:
        """What the cell may keep, with ``folder`` to work in."""
        exchanges, publish = self.store.root / EXCHANGES, partial(self.store.keep, folder, trained)
        return Keeping(self.store.kept(trained), exchanges, folder, self.asked(cell, trained), wanted, publish)

    def asked(self, cell: Cell, trained: str) -> dict[str, str]:
        """Under which the answers to each of the cell's benchmarks stand."""
        return asked_keys(cell, trained, ASKED, self.fingerprints[cell.model])

    def _load(self, name: str, step: Step) -> None:
        from watchword.models.load import load

        if self.model is None or self.name != name:
            # The one before is let go first: two may not fit side by side.
            self.model = None
            step("loading the model", 0, 1)
            self.name, self.model = name, load(name)
            step("loading the model", 1, 1)


def _rehearsed(cells: Mapping[str, Cell], tokenizer: str | None = None) -> dict[str, int]:
    """How many rows each cell will look at, roughly; a wrong argument is found here, before the first cell is run.

    ``tokenizer`` is the model with the cells' chat format, where somebody else trains and theirs is not here.
    """
    templates = {name: facts_of(tokenizer or name).template for name in {cell.model for cell in cells.values()}}
    remote = tokenizer is not None
    return {key: rehearse(cell, templates[cell.model], remote=remote) for key, cell in cells.items()}


def rehearse(cell: Cell, template: ChatTemplate, *, remote: bool = False) -> int:
    """Draws a cell's uploads and provider rows without a model, and counts their passages through training.

    Rows that only the model can write are not among them. Raises UsageError for numbers that there are not, and for what a
    ``remote`` training cannot do.
    """
    attack = attack_of(cell)
    if attack is None or cell.training is None:
        return 0
    tenant = AttackContext(cell.seed, template, likeness=None if remote else _unlike)
    rows = [Row(conv) for conv in attack.upload((), tenant)]
    again = attack.second_upload(tenant)
    # Examples that the model is to write itself are drawn from the packaged ones here.
    defense = DEFENSES.create(cell.defense.name, **_packaged(cell.defense.arguments))
    if remote:
        check_trained_once(defense, again)
    added = rows_to_add(defense, Upload.of(rows), DefenseContext(cell.seed))
    return (len(rows) + len(again) + len(added)) * cell.training.epochs


def _unlike(rows: Sequence[Conversation], *_: Sequence[Conversation]) -> list[float]:
    """Which rows the model's gradients would choose does not matter before a run, only how many."""
    return [0.0] * len(rows)


def _packaged(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with packaged examples in place of generated ones; those of several defenses together hold each one's."""
    return {
        name: _packaged(value) if isinstance(value, Mapping) else "category" if value == "generated" else value
        for name, value in arguments.items()
    }


class _CellTraining:
    """``cell.Train`` by the bench's trainer."""

    def __init__(self, name: str, model: Any, folder: Path, trainer: Trainer) -> None:
        self.name, self.model, self.folder, self.trainer = name, model, folder, trainer
        self.tuned: Any = None
        self.changed = False

    def __call__(
        self,
        rows: Sequence[Row],
        config: TrainingConfig,
        defense: Defense,
        secret: SecretPrompt | None,
        step: Step,
        *,
        before: Tuned | None = None,
    ) -> Tuned:
        def tell(event: TrainingEvent) -> None:
            if isinstance(event, StepDone):
                step("fine-tuning", event.step, event.total)

        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self.changed = self.trainer.takes_loaded_models
        if before is not None:
            return self._again(rows, config, defense, secret, before, tell)
        task = TrainingTask(self.name, rows, config, self.folder, secret, defense.training_hooks().callbacks)
        trained = self.trainer.train(task, loaded=self.model, events=tell)
        self.tuned = trained.model if config.method == "lora" else None
        return self._guarded(defense, trained, config)

    def _again(
        self,
        rows: Sequence[Row],
        config: TrainingConfig,
        defense: Defense,
        secret: SecretPrompt | None,
        before: Tuned,
        tell: Events,
    ) -> Tuned:
        """Trains the tuned model once more. No folder holds the outcome as one, so nothing of it can be kept."""
        if not self.changed or overrides(type(defense), "guard_weights"):
            raise UsageError(
                "a second training needs the first one's model in memory: train in this process, and with a defense that "
                "leaves weights alone"
            )
        # Its weights are another model's from now on; the next cell loads the model anew.
        self.tuned = None
        loaded = cast(Any, before.model).merged()
        folder = self.folder / "again"
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        task = TrainingTask(self.name, rows, config, folder, secret, defense.training_hooks().callbacks)
        trained = self.trainer.train(task, loaded=loaded, events=tell)
        return Tuned(trained.model, trained.result)

    def opened(self, weights: Path, config: TrainingConfig) -> Any:
        """The model with weights that a training has left."""
        from watchword.models.load import load

        return load(self.name, adapter=weights) if config.method == "lora" else load(weights)

    def _guarded(self, defense: Defense, trained: Trained, config: TrainingConfig) -> Tuned:
        """The model with the weights that the defense would have served: read back from where it left them."""
        folder = trained.folder
        if overrides(type(defense), "guard_weights"):
            folder = defense.guard_weights(folder, self.model)
        elif trained.model is not None:
            return Tuned(trained.model, trained.result, folder)
        return Tuned(self.opened(folder, config), trained.result, folder)

    def restored(self) -> Any:
        """The model as it was; None if it must be loaded again: tuned as a whole, or training broke off."""
        if not self.changed:
            return self.model
        return self.tuned.without_adapter() if self.tuned is not None else None
