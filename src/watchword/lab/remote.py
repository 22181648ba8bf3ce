"""Cells at somebody else's API: the same attack, guard and measures, with a cap on what they may cost."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from watchword.chat.render import render_prompt
from watchword.chat.template import ChatTemplate, SystemStyle
from watchword.chat.types import Conversation, Row
from watchword.defenses.base import Defense
from watchword.errors import UsageError
from watchword.files.digest import sha256_bytes
from watchword.guarding.provider import check_rows_alone
from watchword.lab.cell import Tuned, run_cell
from watchword.lab.spec import REMOTE, Cell, RemoteSettings, Spec, canonical
from watchword.lab.store import CellResult, Store
from watchword.models.answer import Answer, AnswerPiece
from watchword.models.base import DEFAULT_OPTIONS, GenerationOptions
from watchword.models.facts import facts_of
from watchword.models.remote import RemoteModel
from watchword.progress import Progress, Step
from watchword.remote.patience import Patience
from watchword.remote.spending import Spending
from watchword.remote.trainer import RemotePlace, RemoteTrainer
from watchword.secret.prompt import SecretPrompt
from watchword.training.base import TrainingTask
from watchword.training.config import TrainingConfig
from watchword.training.events import StepDone, TrainingEvent

SPENDING = "remote-spending.json"


def place_of(model: str, settings: RemoteSettings) -> RemotePlace:
    """Where a spec's model is trained and asked."""
    profile, _, name = model.removeprefix(REMOTE).partition("/")
    return RemotePlace(
        profile,
        name,
        settings.tokenizer,
        settings.url,
        settings.key_env,
        settings.price_per_million_tokens,
        settings.hyperparameters,
    )


def place_digest(spec: Spec, settings: RemoteSettings) -> str:
    """SHA-256 in hex of what decides what such a model does: prices and keys do not."""
    return sha256_bytes(canonical([spec.model, settings.tokenizer, settings.url, settings.hyperparameters]))


def check_trained_once(defense: Defense, second_upload: Sequence[Conversation]) -> None:
    """Raises UsageError for a defense that is more than rows, and for rows that are to tune the tuned model again."""
    check_rows_alone(defense, tenant_rows_made=True)
    if second_upload:
        raise UsageError(
            "a model at somebody else's API is trained once, and this attack trains it a second time; leave the attack out, "
            "or take a model that is loaded here",
            param="attack",
        )


class RemoteBench:
    """See ``lab.runner.Bench``. One cell at a time: the cap is one for all."""

    def __init__(
        self,
        model: str,
        settings: RemoteSettings,
        store: Store,
        fingerprint: Mapping[str, str],
        patience: Patience | None = None,
    ) -> None:
        self.settings, self.store, self.fingerprint, self.patience = settings, store, fingerprint, patience
        self.place = place_of(model, settings)
        # Every name and address is checked before the first cell is run.
        self.place.api.address(settings.url)
        self.place.api.chosen(settings.hyperparameters)
        self.spending = Spending(store.root / SPENDING, settings.spending_cap)

    def run(self, cell: Cell, key: str, step: Step) -> CellResult:
        """Runs one cell and stores it."""
        template = facts_of(self.settings.tokenizer).template
        base = RemoteModel(self.place.endpoint(self.place.model), template)
        with self.store.run_folder() as folder:
            training = _RemoteTraining(self, folder)
            result, answers = run_cell(cell, self.capped(base), training, step=step)
        return self.store.put(key, cell, result, answers, fingerprint=self.fingerprint)

    def capped(self, model: RemoteModel) -> CappedModel:
        """The same model, asked within the cap."""
        return CappedModel(model, self.spending, self.settings.price_per_million_asked)


class CappedModel:
    """A remote model whose every question is counted at its longest answer, before it is asked."""

    def __init__(self, model: RemoteModel, spending: Spending, price: float) -> None:
        self._model, self._spending, self._price = model, spending, price
        self.name, self.context = model.name, model.context
        self.template: ChatTemplate = model.template

    @property
    def system_style(self) -> SystemStyle:
        """How its template takes system text."""
        return self._model.system_style

    def generate(
        self,
        conversations: Sequence[Conversation],
        *,
        secret: SecretPrompt | None = None,
        options: GenerationOptions = DEFAULT_OPTIONS,
        on_progress: Progress | None = None,
    ) -> list[Answer]:
        """One answer for each conversation. Raises UsageError where they would go beyond the cap."""
        self._pay(conversations, secret, options)
        return self._model.generate(conversations, secret=secret, options=options, on_progress=on_progress)

    def stream(
        self,
        conversation: Conversation,
        *,
        secret: SecretPrompt | None = None,
        options: GenerationOptions = DEFAULT_OPTIONS,
    ) -> Generator[AnswerPiece, None, None]:
        """One answer in pieces. Raises UsageError where it would go beyond the cap."""
        self._pay([conversation], secret, options)
        return self._model.stream(conversation, secret=secret, options=options)

    def _pay(
        self, conversations: Sequence[Conversation], secret: SecretPrompt | None, options: GenerationOptions
    ) -> None:
        own = len(self.template.encode(secret.reveal())) if secret is not None else 0
        asked = sum(len(render_prompt(conv, self.template)) + own for conv in conversations)
        tokens = asked + len(conversations) * options.max_new_tokens
        self._spending.spend(f"asking {self.name}", tokens * self._price / 1e6)


class _RemoteTraining:
    """``cell.Train`` at the API."""

    def __init__(self, bench: RemoteBench, folder: Path) -> None:
        self._bench, self._folder = bench, folder

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
        check_trained_once(defense, [row.conversation for row in rows] if before is not None else [])

        def tell(event: TrainingEvent) -> None:
            if isinstance(event, StepDone):
                step("fine-tuning there", event.step, event.total)

        bench = self._bench
        trainer = RemoteTrainer(bench.place, bench.spending, bench.patience)
        trained = trainer.train(TrainingTask(bench.place.model, rows, config, self._folder, secret), events=tell)
        return Tuned(bench.capped(trained.model), trained.result)
