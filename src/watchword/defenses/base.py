"""What every defense is: four seams, each of which changes nothing unless a defense overrides it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from watchword.chat.types import Conversation, Row
from watchword.registry import Registry
from watchword.secret.prompt import SecretPrompt

Generate = Callable[[Sequence[Conversation]], list[str]]


@dataclass(frozen=True)
class DefenseContext:
    """What a defense may use: a seed, and where there is one, the aligned model's own voice.

    ``generate`` answers conversations with the model before fine-tuning, greedily. It is None where no model is at hand
    (guarding a file for another trainer); defenses then fall back on the packaged answers.
    """

    seed: int = 0
    generate: Generate | None = None

    def random(self, purpose: str) -> random.Random:
        """A generator of its own for each purpose, so that one draw more here changes nothing there."""
        return random.Random(f"{self.seed}:{purpose}")


class Defense:
    """One file in this package is one defense: a frozen dataclass whose fields are its parameters."""

    needs_secret: bool = False

    def guard_data(self, rows: Sequence[Row], context: DefenseContext) -> list[Row]:  # noqa: ARG002
        """Before training: the tenant's rows in, the rows to train on out. No tenant row may be lost or changed."""
        return list(rows)

    def training_hooks(self) -> TrainingHooks:
        """During training: callbacks for the trainer."""
        return TrainingHooks()

    def guard_weights(self, tuned: Path, base: Any) -> Path:  # noqa: ARG002
        """After training: the folder of the adapter to serve."""
        return tuned

    def guard_prompt(self, conversation: Conversation, secret: SecretPrompt | None) -> PromptGuard:  # noqa: ARG002
        """At inference: the conversation, and the secret to assemble in front of it, if any."""
        return PromptGuard(conversation)


@dataclass(frozen=True)
class TrainingHooks:
    """Callbacks in the form of transformers' TrainerCallback, kept untyped so that defenses load no torch."""

    callbacks: tuple[Any, ...] = ()


@dataclass(frozen=True)
class PromptGuard:
    """A conversation as the tenant sent it, and the secret that the one prompt assembly puts in front of it."""

    conversation: Conversation
    secret: SecretPrompt | None = field(default=None, repr=False)


DEFENSES: Registry[Defense] = Registry("defense", Defense, "watchword.defenses")
