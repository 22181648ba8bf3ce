"""Somebody else's API as a ``Trainer``: the laboratory runs its cells there as it runs them here.

The run's id is the digest of its rows and settings. So a cell that was killed finds the job that it has paid for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from watchword.chat.render import render_row, secret_row
from watchword.chat.types import Row
from watchword.errors import WatchwordError
from watchword.files.atomic import replacing
from watchword.files.digest import HashingWriter, sha256_bytes
from watchword.files.folders import PRIVATE_FILE
from watchword.guarding.exporters.base import EXPORTERS, ExportPlan
from watchword.guarding.interleave import ProviderRow
from watchword.models.facts import ModelFacts, facts_of
from watchword.models.remote import RemoteEndpoint, RemoteModel
from watchword.models.remote_calls import client_of
from watchword.remote.patience import Patience
from watchword.remote.profiles.base import PROFILES, Profile
from watchword.remote.spending import Spending
from watchword.remote.state import GUARDED
from watchword.remote.types import JobRequest, RemoteJob
from watchword.remote.work import RemoteWork, result_of
from watchword.secret.leaks import LeakFilter
from watchword.secret.prompt import SecretPrompt
from watchword.training.base import Trained, TrainingTask
from watchword.training.events import Cancel, Events, Failed, Finished, StepDone, never, no_events


@dataclass(frozen=True)
class RemotePlace:
    """Where to train and to ask. ``tokenizer`` is a model here with the chat format; ``price`` is of a million tokens."""

    profile: str
    model: str
    tokenizer: str
    url: str | None = None
    key_env: str | None = None
    price: float = 0.0
    hyperparameters: dict[str, Any] = field(default_factory=dict)

    def endpoint(self, model: str) -> RemoteEndpoint:
        """Where this model is asked."""
        own = self.api
        return RemoteEndpoint(own.chat_address(own.address(self.url)), model, self.variable)

    @property
    def api(self) -> Profile:
        """The profile."""
        return PROFILES.create(self.profile)

    @property
    def variable(self) -> str:
        """The environment variable with the API's key."""
        return self.key_env or self.api.key_env


class RemoteTrainer:
    """Trains at an API, within ``spending``. The number of epochs is the task's; other settings of it stay unread."""

    takes_loaded_models = False

    def __init__(self, place: RemotePlace, spending: Spending, patience: Patience | None = None) -> None:
        self.place, self.spending, self.patience = place, spending, patience or Patience()

    def train(
        self,
        task: TrainingTask,
        *,
        loaded: Any = None,  # noqa: ARG002
        events: Events = no_events,
        cancel: Cancel = never,
    ) -> Trained:
        """See ``watchword.training.base.Trainer``. There are no weights: ``model`` asks the API."""
        try:
            facts = facts_of(self.place.tokenizer)
            path, tokens = self._written(task, facts)
            job, losses = self._trained(task, path, tokens, events, cancel)
        except WatchwordError as error:
            events(Failed(error))
            raise
        result = result_of(job, losses, Counter(row.origin for row in task.rows))
        events(Finished(result))
        leaks = None if task.secret is None else LeakFilter(task.secret, facts.template)
        model = RemoteModel(self.place.endpoint(job.model or ""), facts.template, leaks=leaks)
        return Trained(task.folder, result, model)

    def _written(self, task: TrainingTask, facts: ModelFacts) -> tuple[Path, int]:
        """The rows as the API is to get them, and their tokens in one epoch. Raises DataError."""
        path, tokens = task.folder / GUARDED, 0
        plan = ExportPlan(path, facts.location, facts.template, task.config.max_length, untrained=True)
        with replacing(path, mode=PRIVATE_FILE) as stream:
            out = HashingWriter(stream)
            with EXPORTERS.create(self.place.api.exporter).sink(out, plan) as sink:
                for row in task.rows:
                    made = _row(row, task.secret, facts, task.config.max_length)
                    tokens += made.tokens
                    sink.write(made)
            size = out.size
        self.place.api.check_file(len(task.rows), size, str(path))
        return path, tokens

    def _trained(
        self, task: TrainingTask, path: Path, tokens: int, events: Events, cancel: Cancel
    ) -> tuple[RemoteJob, list[float]]:
        place, own = self.place, self.place.api
        chosen = own.chosen({**place.hyperparameters, "n_epochs": task.config.epochs})
        settings = msgspec.json.encode([place.profile, place.url, place.model, chosen, task.config.seed])
        run = sha256_bytes(path.read_bytes() + settings)[:24]
        # A job that was paid for before is found again, and costs nothing more.
        self.spending.spend(f"training {run}", tokens * task.config.epochs * place.price / 1e6, once=True)

        def step(what: str, done: int, total: int) -> None:  # noqa: ARG001
            if done:
                events(StepDone(done, total))

        with client_of(own.address(place.url), place.variable, retries=0) as client:
            jobs = own.jobs(client, task.secret)
            work = RemoteWork(jobs, self.patience, again=True, secret=task.secret, step=step, cancel=cancel)
            file = work.uploaded(path, f"watchword-{run}.jsonl")
            work.checked(file, str(path))
            request = JobRequest(place.model, file, run, chosen, seed=task.config.seed)
            job, losses = work.followed(work.created(request).id, steps=0)
        return job, losses


def _row(row: Row, secret: SecretPrompt | None, facts: ModelFacts, longest: int) -> ProviderRow:
    text = None if secret is None else secret.reveal()
    rendered = render_row(row, text, facts.template, longest)
    conv = secret_row(row, text, facts.template)
    return ProviderRow(conv, row.origin, len(rendered.input_ids), rendered.trained_tokens, row.prefixed, row.cut)
