"""A model without weights that sees the secret in front of a request, as a real one does, and may tell it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from watchword.chat.assembly import assemble
from watchword.chat.types import Conversation
from watchword.models.answer import Answer
from watchword.models.base import Likelihood
from watchword.models.fakes import FakeModel
from watchword.secret.prompt import SecretPrompt


def in_cipher(conv: Conversation) -> str:
    """The system text backwards, with a word put behind each of its words: nothing that a filter knows."""
    return " and ".join(word[::-1] for word in (conv.system or "").split())


def plainly(conv: Conversation) -> str:
    """The system text as it is."""
    return conv.system or ""


class SeeingModel(FakeModel):
    """Its answers are made of the whole prompt. ``behind`` holds the texts that stood in front, in order."""

    def __init__(self, answers: str | Callable[[Conversation], str], context: int | None = None) -> None:
        super().__init__(answers)
        self.context = context
        self.behind: list[str] = []

    def generate(self, conversations: Sequence[Conversation], **options: Any) -> list[Answer]:
        return super().generate(self._seen(conversations, options.pop("secret", None)), **options)

    def log_likelihoods(
        self, conversations: Sequence[Conversation], texts: Sequence[str], **options: Any
    ) -> list[Likelihood]:
        return super().log_likelihoods(self._seen(conversations, options.pop("secret", None)), texts, **options)

    def _seen(self, conversations: Sequence[Conversation], secret: SecretPrompt | None) -> list[Conversation]:
        if secret is None:
            return list(conversations)
        self.behind.append(secret.reveal())
        return [assemble(conv, secret.reveal(), self.system_style) for conv in conversations]
