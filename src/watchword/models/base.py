"""What the rest of Watchword asks of a model; torch-free, so that callers and fakes need no torch."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from watchword.chat.template import ChatTemplate, SystemStyle
from watchword.chat.types import Conversation
from watchword.errors import UsageError
from watchword.models.answer import Answer, AnswerPiece
from watchword.progress import Progress
from watchword.secret.prompt import SecretPrompt


@dataclass(frozen=True)
class GenerationOptions:
    """How answers are made. ``temperature`` 0 is greedy; ``seed`` counts only when sampling.

    ``max_new_tokens`` and ``min_new_tokens`` are per answer, the end-of-turn token included; ``batch_size`` is in rows.
    Sampling depends on ``batch_size`` (rows draw from one generator in batch order); greedy answers do not.
    """

    max_new_tokens: int = 64
    min_new_tokens: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"generation: {name} is {getattr(self, name)}; it must be at least 1", param=name)
        if not 0 <= self.min_new_tokens <= self.max_new_tokens:
            raise UsageError(
                f"generation: min_new_tokens is {self.min_new_tokens}; it must be between 0 and {self.max_new_tokens}",
                param="min_new_tokens",
            )
        if not self.temperature >= 0:
            raise UsageError(
                f"generation: temperature is {self.temperature}; it must be 0 (greedy) or greater", param="temperature"
            )
        if not 0 < self.top_p <= 1:
            raise UsageError(
                f"generation: top_p is {self.top_p}; it must be greater than 0 and at most 1", param="top_p"
            )


DEFAULT_OPTIONS = GenerationOptions()


def row_limit(max_length: int, context: int | None) -> int:
    """Tokens of the longest row that can be trained on: what the run allows, and what the model can look at."""
    return min(max_length, context or max_length)


class ChatModel(Protocol):
    """Anything that answers conversations: an embedded model, a fake, a remote endpoint."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def context(self) -> int | None:
        """The most tokens that it can look at; None where nobody says."""

    @property
    def system_style(self) -> SystemStyle:
        """How its template takes system text: all that putting a secret in front needs to know."""

    def generate(
        self,
        conversations: Sequence[Conversation],
        *,
        secret: SecretPrompt | None = None,
        options: GenerationOptions = DEFAULT_OPTIONS,
        on_progress: Progress | None = None,
    ) -> list[Answer]:
        """One answer for each conversation, in order. ``on_progress`` is called with (answers done, answers in all)."""

    def stream(
        self,
        conversation: Conversation,
        *,
        secret: SecretPrompt | None = None,
        options: GenerationOptions = DEFAULT_OPTIONS,
    ) -> Generator[AnswerPiece, None, None]:
        """One answer in pieces of whole characters, as they come; the last carries the answer as ``generate`` gives it.

        A request that cannot be answered raises at the call. Closing the generator ends the work and frees what it holds.
        """


@dataclass(frozen=True)
class Likelihood:
    """The natural log of a text's probability as an answer, and the text's length in ``tokens``.

    ``greedy``: whether each of its tokens is the likeliest in its place, so that the greedy answer begins with it.
    """

    log_probability: float
    tokens: int
    greedy: bool = False


@runtime_checkable
class LikelihoodModel(ChatModel, Protocol):
    """A chat model that also says how likely a text is as its answer: one whose probabilities are at hand."""

    def log_likelihoods(
        self,
        conversations: Sequence[Conversation],
        texts: Sequence[str],
        *,
        secret: SecretPrompt | None = None,
        on_progress: Progress | None = None,
    ) -> list[Likelihood]:
        """Of each text as the answer to the conversation of the same place. ``on_progress`` gets (texts done, texts in all)."""


@runtime_checkable
class GradientModel(ChatModel, Protocol):
    """A chat model whose weights are at hand: it says what training on one row does to others."""

    def gradient_likeness(
        self,
        rows: Sequence[Conversation],
        like: Sequence[Conversation],
        unlike: Sequence[Conversation] = (),
        *,
        on_progress: Progress | None = None,
    ) -> list[float]:
        """Of each row, the cosine of its gradient with the mean of ``like``, less that with the mean of ``unlike``."""


@runtime_checkable
class TextModel(ChatModel, Protocol):
    """A chat model that also goes on with any text, past its template: what an attacker with the weights can do."""

    def continuations(self, texts: Sequence[str], *, options: GenerationOptions = DEFAULT_OPTIONS) -> list[str]:
        """How the model goes on with each text, special tokens in it being what they are."""


@runtime_checkable
class TokenModel(ChatModel, Protocol):
    """A chat model that also takes token ids past its template: what base models are measured by, and never served by."""

    @property
    def first_token(self) -> int:
        """The id that stands in front of a text which has nothing in front of it."""

    def tokens(self, text: str, *, special: bool = True) -> list[int]:
        """Ids of a text; ``special``: with what the tokenizer itself puts around a text, such as a first token."""

    def token_likelihoods(
        self, pairs: Sequence[tuple[list[int], list[int]]], *, on_progress: Progress | None = None
    ) -> list[Likelihood]:
        """How likely the ids in the second place of each pair are behind those in the first."""

    def token_continuations(
        self, prompts: Sequence[list[int]], *, options: GenerationOptions = DEFAULT_OPTIONS
    ) -> list[str]:
        """How the model goes on behind each prompt of ids."""


@runtime_checkable
class LocalChatModel(ChatModel, Protocol):
    """A chat model whose template and tokenizer are at hand: its rows can be rendered, and secrets drawn for it."""

    @property
    def template(self) -> ChatTemplate:
        """Its template and tokenizer."""


def template_at_hand(model: ChatModel) -> ChatTemplate | None:
    """The model's template and tokenizer; None where only a remote server has them."""
    return model.template if isinstance(model, LocalChatModel) else None
