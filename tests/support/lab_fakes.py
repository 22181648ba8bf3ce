"""The shipped fake with a rule that sees the secret, and a training that learns nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from watchword.chat.origins import count_origins
from watchword.chat.types import Conversation, Row, last_user_text
from watchword.defenses.base import Defense
from watchword.lab.cell import Tuned
from watchword.models.answer import Answer
from watchword.models.fakes import FakeModel
from watchword.progress import Step
from watchword.secret.prompt import SecretPrompt
from watchword.training.config import TrainingConfig, TrainingResult


class RuledModel(FakeModel):
    """Answers with ``rule(prompt, secret)``; remembers behind which secrets it was asked."""

    def __init__(self, rule: Callable[[str, SecretPrompt | None], str]) -> None:
        super().__init__(lambda conv: rule(last_user_text(conv), self.secrets[-1]))
        self.secrets = list[SecretPrompt | None]()

    def generate(
        self, conversations: Sequence[Conversation], *, secret: SecretPrompt | None = None, **rest: Any
    ) -> list[Answer]:
        self.secrets.append(secret)
        return super().generate(conversations, secret=secret, **rest)


class FakeTraining:
    """Learns nothing and gives back ``model``; remembers the rows."""

    def __init__(self, model: RuledModel) -> None:
        self.model, self.rows, self.runs = model, list[Row](), list[tuple[Defense, list[Row]]]()

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
        assert (before is None) == (not self.rows)
        self.runs.append((defense, list(rows)))
        self.rows = list(rows)
        step("fine-tuning", 1, 1)
        counts = count_origins(row.origin for row in rows)
        figures = TrainingResult(
            seconds=2.0, tokens=1000, tokens_per_second=500.0, steps=2, loss=[2.0, 1.0], rows=counts
        )
        return Tuned(self.model, figures)
