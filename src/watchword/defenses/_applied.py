"""Asking a model through a defense: guard the request, let the model answer, clean the answer. Nothing else does this.

The laboratory, the benchmarks, the command line and what serves a release all ask here, so that a figure in a report and
an answer in production come about in the same way.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from watchword.chat.types import Conversation
from watchword.defenses.base import Defense, PromptGuard, one_secret
from watchword.models.answer import Answer, AnswerPiece
from watchword.models.base import DEFAULT_OPTIONS, ChatModel, GenerationOptions
from watchword.progress import Progress
from watchword.secret.prompt import SecretPrompt
from watchword.secret.redact import Redactor, redact


@dataclass(frozen=True)
class AppliedDefense:
    """A defense with the secret that it puts in front of requests; None for a defense without one.

    ``withheld`` leaves the secret out of requests, to measure what the weights do alone. Answers are cleaned all the
    same: a model may recite what it was trained behind.
    """

    defense: Defense
    secret: SecretPrompt | None = field(default=None, repr=False)
    withheld: bool = False

    def without_secret(self) -> AppliedDefense:
        """The same, but requests go out without the secret."""
        return dataclasses.replace(self, withheld=True)

    def guard(self, conversation: Conversation) -> PromptGuard:
        """The request as the model is to get it: the conversation, and what the prompt assembly puts in front of it."""
        return self.defense.guard_prompt(conversation, None if self.withheld else self.secret)

    def clean(self, text: str) -> str:
        """``text`` without anything of the secret."""
        return text if self.secret is None else redact(text, self.secret)

    def clean_stream(self, pieces: Iterable[str]) -> Iterator[str]:
        """The pieces of a text without anything of the secret, wherever it was cut. Joined, they are ``clean`` of the whole."""
        if self.secret is None:
            yield from filter(None, pieces)
            return
        redactor = Redactor(self.secret)
        yield from filter(None, map(redactor.feed, pieces))
        if rest := redactor.finish():
            yield rest

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
