"""Asking a model through a defense: guard the request, let the model answer, clean the answer. Nothing else does this.

The laboratory, the benchmarks, the command line and what serves a release all ask here. So a figure in a report and an
answer in production come about in the same way.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from watchword.chat.types import Conversation
from watchword.defenses.base import Defense, PromptGuard, one_secret
from watchword.errors import UsageError
from watchword.models.answer import Answer, AnswerPiece
from watchword.models.base import DEFAULT_OPTIONS, ChatModel, GenerationOptions, Likelihood, LikelihoodModel
from watchword.progress import Progress
from watchword.secret.prompt import SecretPrompt
from watchword.secret.redact import Redactor, redact


@dataclass(frozen=True)
class AppliedDefense:
    """A defense with the secret that it puts in front of requests; None for a defense without one.

    ``hidden`` are secrets that are not in front and still never shown: a model may recite what it was trained behind.
    """

    defense: Defense
    secret: SecretPrompt | None = field(default=None, repr=False)
    hidden: tuple[SecretPrompt, ...] = field(default=(), repr=False)

    def without_secret(self) -> AppliedDefense:
        """The same with nothing in front of requests, to measure what the weights do alone. Answers stay clean."""
        return self.behind(None)

    def behind(self, secret: SecretPrompt | None) -> AppliedDefense:
        """The same with another secret in front of requests, or none. Answers are cleaned of its own secret as well."""
        return dataclasses.replace(self, secret=secret, hidden=self._secrets)

    def guard(self, conversation: Conversation) -> PromptGuard:
        """The request as the model is to get it: the conversation, and what the prompt assembly puts in front of it."""
        return self.defense.guard_prompt(conversation, self.secret)

    def clean(self, text: str) -> str:
        """``text`` without anything of the secrets."""
        for secret in self._secrets:
            text = redact(text, secret)
        return text

    def clean_stream(self, pieces: Iterable[str]) -> Iterator[str]:
        """The pieces of a text without anything of the secrets, wherever it was cut. Joined, they are ``clean`` of the whole."""
        for secret in self._secrets:
            pieces = _redacted(pieces, secret)
        return filter(None, pieces)

    def ask(
        self,
        model: ChatModel,
        conversations: Sequence[Conversation],
        *,
        options: GenerationOptions = DEFAULT_OPTIONS,
        on_progress: Progress | None = None,
    ) -> list[Answer]:
        """One clean answer for each conversation, in order. Raises what guarding and generating raise."""
        guards = [self.guard(conv) for conv in conversations]
        answers = model.generate(
            [guard.conversation for guard in guards],
            secret=one_secret(guards),
            options=options,
            on_progress=on_progress,
        )
        return [self._cleaned(answer) for answer in answers]

    def likelihoods(
        self,
        model: ChatModel,
        conversations: Sequence[Conversation],
        texts: Sequence[str],
        *,
        on_progress: Progress | None = None,
    ) -> list[Likelihood]:
        """How likely each text is as the answer to its conversation. Raises UsageError where the model cannot say."""
        if not isinstance(model, LikelihoodModel):
            raise UsageError(f"{model.name} does not say how likely a text is; take a model that is loaded here")
        guards = [self.guard(conv) for conv in conversations]
        asked = [guard.conversation for guard in guards]
        return model.log_likelihoods(asked, texts, secret=one_secret(guards), on_progress=on_progress)

    def stream(
        self, model: ChatModel, conversation: Conversation, *, options: GenerationOptions = DEFAULT_OPTIONS
    ) -> Generator[AnswerPiece, None, None]:
        """One clean answer in pieces, as they come; the last carries the answer as ``ask`` gives it.

        A request that cannot be answered raises at the call. Closing the generator ends the model's work.
        """
        guard = self.guard(conversation)
        return self._clean_pieces(model.stream(guard.conversation, secret=guard.secret, options=options))

    def _clean_pieces(self, pieces: Generator[AnswerPiece, None, None]) -> Generator[AnswerPiece, None, None]:
        whole = list[Answer]()

        def texts() -> Iterator[str]:
            for piece in pieces:
                yield piece.text
                if piece.answer is not None:
                    whole.append(piece.answer)

        with contextlib.closing(pieces):
            for text in self.clean_stream(texts()):
                yield AnswerPiece(text)
            for answer in whole:
                yield AnswerPiece("", self._cleaned(answer))

    def _cleaned(self, answer: Answer) -> Answer:
        return dataclasses.replace(answer, text=self.clean(answer.text))

    @property
    def _secrets(self) -> tuple[SecretPrompt, ...]:
        own = () if self.secret is None else (self.secret,)
        known = (*own, *self.hidden)
        return tuple(dict.fromkeys((*known, *(text for secret in known for text in self.defense.hidden(secret)))))


def _redacted(pieces: Iterable[str], secret: SecretPrompt) -> Iterator[str]:
    redactor = Redactor(secret)
    yield from map(redactor.feed, pieces)
    yield redactor.finish()
