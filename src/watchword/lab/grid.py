"""Runs every cell of a spec that has not been run before, and keeps the results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from watchword.attacks.base import AttackContext
from watchword.chat.format import ChatFormat
from watchword.chat.types import Row
from watchword.defenses.base import DEFENSES, Defense, DefenseContext, Upload
from watchword.lab.run import attack_of, run_cell
from watchword.lab.spec import Cell, Spec, complete
from watchword.lab.store import CellResult, Store
from watchword.models.base import Step
from watchword.models.digest import model_digest
from watchword.safety.library import digest
from watchword.secret.prompt import SecretPrompt
from watchword.training.config import TrainingConfig

# Part of every cell's key; raise it when code changes what a cell measures.
METHOD = "3"


def run_spec(spec: Spec, store: Store, *, step: Step, say: Callable[[str], None]) -> list[CellResult]:
    """The results of all cells, in the spec's order; finished ones come from the store. ``say`` gets a line a cell."""
    fingerprint = {"method": METHOD, "data": digest(), "model": model_digest(spec.model)}
    bench = Bench(spec.model, store, fingerprint)
    results = []
    # Every name and argument is checked before the first cell is run.
    cells = [complete(cell) for cell in spec.cells()]
    for number, cell in enumerate(cells, start=1):
        key = store.key(cell, fingerprint)
        label = f"[{number}/{len(cells)}] {cell.attack.name} × {cell.defense.name}, seed {cell.seed}"
        found = store.get(key)
        if found is None:
            say(label)
            bench.prepare(cells, step)
            found = bench.run(cell, key, step)
        else:
            say(f"{label}: re-used")
        results.append(found)
    return results


class Bench:
    """The model that the cells are run on, loaded when the first cell needs it and given back clean by each."""

    def __init__(self, name: str, store: Store, fingerprint: Mapping[str, str]) -> None:
        self.name, self.store, self.fingerprint = name, store, fingerprint
        self.model: Any = None

        self.rehearsed = False

    def prepare(self, cells: Sequence[Cell], step: Step) -> None:
        """Loads the model if need be; before the first cell, draws every cell's rows once to find a wrong argument."""
        from watchword.models.load import load

        if self.model is None:
            step("loading the model", 0, 1)
            self.model = load(self.name)
            step("loading the model", 1, 1)
        if not self.rehearsed:
            for cell in cells:
                rehearse(cell, self.model.chat_format)
            self.rehearsed = True

    def run(self, cell: Cell, key: str, step: Step) -> CellResult:
        """Runs one cell and stores it."""
        with self.store.run_folder(key) as folder:
            trainer = _Trainer(self.name, self.model, folder)
            try:
                result, answers = run_cell(cell, self.model, trainer, step=step)
            finally:
                self.model = trainer.restored()
        return self.store.put(key, cell, result, answers, fingerprint=self.fingerprint)


def rehearse(cell: Cell, chat_format: ChatFormat) -> None:
    """Draws a cell's upload and provider rows without a model. Raises UsageError for numbers that there are not."""
    attack = attack_of(cell)
    if attack is None:
        return
    rows = [Row(conv) for conv in attack.upload((), AttackContext(cell.seed, chat_format))]
    # Examples that the model is to write itself are drawn from the packaged ones here.
    told = {name: "category" if value == "generated" else value for name, value in cell.defense.arguments.items()}
    DEFENSES.create(cell.defense.name, **told).guard_data(Upload.of(rows), DefenseContext(cell.seed))


class _Trainer:
    """``run.Train`` on a model in this process."""

    def __init__(self, name: str, model: Any, folder: Path) -> None:
        self.name, self.model, self.folder = name, model, folder
        self.tuned: Any = None
        self.began = False

    def __call__(
        self, rows: Sequence[Row], config: TrainingConfig, defense: Defense, secret: SecretPrompt | None, step: Step
    ) -> Any:
        from watchword.training.loop import fine_tune

        self.began = True
        tuned, result = fine_tune(
            self.model,
            rows,
            config,
            out=self.folder,
            secret=secret,
            callbacks=defense.training_hooks().callbacks,
            on_progress=lambda done, total: step("fine-tuning", done, total),
        )
        self.tuned = tuned if config.method == "lora" else None
        return self._guarded(defense, tuned, config), result

    def _guarded(self, defense: Defense, tuned: Any, config: TrainingConfig) -> Any:
        """The model with the weights that the defense would have served: read back from where it left them."""
        from watchword.models.load import load

        if type(defense).guard_weights is Defense.guard_weights:
            return tuned
        folder = defense.guard_weights(self.folder, self.model)
        return load(self.name, adapter=folder) if config.method == "lora" else load(folder)

    def restored(self) -> Any:
        """The model as it was; None if it must be loaded again: tuned as a whole, or training broke off."""
        if not self.began:
            return self.model
        return self.tuned.without_adapter() if self.tuned is not None else None
