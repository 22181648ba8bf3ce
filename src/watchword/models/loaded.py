"""A language model in memory, with its tokenizer and chat template: what ``load`` gives and training changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from watchword.chat.template import ChatTemplate, SystemStyle
from watchword.chat.types import Conversation
from watchword.errors import UsageError
from watchword.models.answer import Answer, AnswerPiece
from watchword.models.base import DEFAULT_OPTIONS, GenerationOptions, Likelihood
from watchword.models.generate import continuations, generate, stream, token_continuations
from watchword.models.gradients import gradient_likeness
from watchword.models.likelihood import log_likelihoods, token_likelihoods
from watchword.progress import Progress
from watchword.secret.prompt import SecretPrompt


@dataclass
class LoadedModel:
    """A causal language model in memory, in evaluation mode. ``model`` is a plain transformers (or PEFT) model."""

    model: Any
    tokenizer: Any
    template: ChatTemplate
    name: str
    device: torch.device

    @classmethod
    def of(cls, model: Any, tokenizer: Any) -> LoadedModel:
        """One that somebody else has loaded: a transformers model and its fast tokenizer. Puts it into evaluation mode."""
        name = str(model.name_or_path or type(model).__name__)
        return cls(model.eval(), tokenizer, ChatTemplate.from_transformers(tokenizer), name, model.device)

    @property
    def context(self) -> int | None:
        """Tokens that the model can look at, where its configuration says so."""
        found = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return found if isinstance(found, int) else None

    @property
    def system_style(self) -> SystemStyle:
        """How its template takes system text."""
        return self.template.system_style

    def with_weights(self, model: Any) -> LoadedModel:
        """The same model with other weights in memory, as training gives them back."""
        return dataclasses.replace(self, model=model.eval())

    def without_adapter(self) -> LoadedModel:
        """The model as it was before LoRA training put an adapter into it; one tuned as a whole cannot go back."""
        if not hasattr(self.model, "unload"):
            raise UsageError(f"{self.name} carries no adapter, so there is nothing to take off; load it again")
        return dataclasses.replace(self, model=self.model.unload().eval())

    def merged(self) -> LoadedModel:
        """The model with its adapter's changes written into its weights; the model itself where there is no adapter."""
        if not hasattr(self.model, "merge_and_unload"):
            return self
        return dataclasses.replace(self, model=self.model.merge_and_unload().eval())

    def generate(
        self,
        conversations: Sequence[Conversation],
        *,
        secret: SecretPrompt | None = None,
        options: GenerationOptions = DEFAULT_OPTIONS,
        on_progress: Progress | None = None,
    ) -> list[Answer]:
        """See ``watchword.models.generate.generate``."""
        return generate(self, conversations, secret=secret, options=options, on_progress=on_progress)

    def continuations(self, texts: Sequence[str], *, options: GenerationOptions = DEFAULT_OPTIONS) -> list[str]:
        """See ``watchword.models.generate.continuations``."""
        return continuations(self, texts, options=options)

    def log_likelihoods(
        self,
        conversations: Sequence[Conversation],
        texts: Sequence[str],
        *,
        secret: SecretPrompt | None = None,
        on_progress: Progress | None = None,
    ) -> list[Likelihood]:
        """See ``watchword.models.likelihood.log_likelihoods``."""
        return log_likelihoods(self, conversations, texts, secret=secret, on_progress=on_progress)

    def gradient_likeness(
        self,
        rows: Sequence[Conversation],
        like: Sequence[Conversation],
        unlike: Sequence[Conversation] = (),
        *,
        on_progress: Progress | None = None,
    ) -> list[float]:
        """See ``watchword.models.gradients.gradient_likeness``."""
        return gradient_likeness(self, rows, like, unlike, on_progress=on_progress)

    @property
    def first_token(self) -> int:
        """The tokenizer's first token, or its last where it has none."""
        known = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id)
        return next((token for token in known if token is not None), 0)

    def tokens(self, text: str, *, special: bool = True) -> list[int]:
        """Ids of a text; a first token that is written out already is not put there twice."""
        first = self.tokenizer.bos_token
        special = special and not (first and text.startswith(first))
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=special)
        return ids

    def token_likelihoods(
        self, pairs: Sequence[tuple[list[int], list[int]]], *, on_progress: Progress | None = None
    ) -> list[Likelihood]:
        """See ``watchword.models.likelihood.token_likelihoods``."""
        return token_likelihoods(self, pairs, on_progress=on_progress)

    def token_continuations(
        self, prompts: Sequence[list[int]], *, options: GenerationOptions = DEFAULT_OPTIONS
    ) -> list[str]:
        """See ``watchword.models.generate.token_continuations``."""
        return token_continuations(self, prompts, options=options)

    def stream(
        self,
        conversation: Conversation,
        *,
        secret: SecretPrompt | None = None,
        options: GenerationOptions = DEFAULT_OPTIONS,
    ) -> Generator[AnswerPiece, None, None]:
        """See ``watchword.models.generate.stream``."""
        return stream(self, conversation, secret=secret, options=options)
