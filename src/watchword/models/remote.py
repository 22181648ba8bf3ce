"""A model behind somebody else's OpenAI-compatible API, as a ``ChatModel``: chats, judges and benchmarks ask it like any other.

The secret is put in by the one prompt assembly before a request leaves. Every answer is looked at by the leak filter
before anybody gets it. The tokenizer is here, since secrets and counts need one; the weights are not.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from watchword.chat.assembly import assemble
from watchword.chat.render import render_prompt
from watchword.chat.template import ChatTemplate, SystemStyle
from watchword.chat.types import Conversation
from watchword.errors import UsageError
from watchword.models.answer import Answer, AnswerPiece, Finish, Usage
from watchword.models.base import DEFAULT_OPTIONS, GenerationOptions
from watchword.models.remote_calls import RefusedCallError, client_of, told
from watchword.progress import Progress
from watchword.secret.leaks import REFUSAL, LeakFilter
from watchword.secret.prompt import SecretPrompt

if TYPE_CHECKING:
    from openai import OpenAI

# Requests that are open at once, and how often one is sent again: rate limits and lost connections are ordinary here.
_AT_ONCE, _RETRIES = 8, 6


@dataclass(frozen=True)
class RemoteEndpoint:
    """``url`` is what stands before ``/chat/completions``; ``key_env`` names the environment variable with the key."""

    url: str
    model: str
    key_env: str


class RemoteModel:
    """Asks the model at an endpoint. ``leaks`` looks for a secret in every answer; one that holds it becomes a refusal."""

    context: int | None = None

    def __init__(self, endpoint: RemoteEndpoint, template: ChatTemplate, *, leaks: LeakFilter | None = None) -> None:
        self.endpoint, self.template, self._leaks = endpoint, template, leaks

    def __repr__(self) -> str:
        return f"RemoteModel({self.endpoint.model!r} at {self.endpoint.url})"

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.endpoint.model

    @property
    def system_style(self) -> SystemStyle:
        """How its template takes system text."""
        return self.template.system_style

    def generate(
        self,
        conversations: Sequence[Conversation],
        *,
        secret: SecretPrompt | None = None,
        options: GenerationOptions = DEFAULT_OPTIONS,
        on_progress: Progress | None = None,
    ) -> list[Answer]:
        """One answer for each conversation, in order; a few are asked for at once. Raises RemoteError."""
        answers: list[Answer] = []
        with self._client() as client, ThreadPoolExecutor(min(options.batch_size, _AT_ONCE), "asking") as threads:
            ask = functools.partial(self._answered, client, secret=secret, options=options)
            for answer in threads.map(ask, conversations):
                answers.append(answer)
                if on_progress:
                    on_progress(len(answers), len(conversations))
        return answers

    def stream(
        self,
        conversation: Conversation,
        *,
        secret: SecretPrompt | None = None,
        options: GenerationOptions = DEFAULT_OPTIONS,
    ) -> Generator[AnswerPiece, None, None]:
        """One answer in pieces, each looked at before it comes. Raises RemoteError at the call for a refused request."""
        body = self._body(conversation, secret, options)
        with contextlib.ExitStack() as opened:
            client = opened.enter_context(self._client())
            with told(secret):
                pieces = client.chat.completions.create(**body, stream=True)
            opened.callback(pieces.close)
            return self._pieces(pieces, conversation, secret, opened.pop_all())

    def _answered(
        self, client: OpenAI, conv: Conversation, *, secret: SecretPrompt | None, options: GenerationOptions
    ) -> Answer:
        with told(secret):
            reply = client.chat.completions.create(**self._body(conv, secret, options))
        if not reply.choices:
            raise RefusedCallError(f"{self.endpoint.url} answered without any choice", status=None, again=False)
        choice = reply.choices[0]
        text = choice.message.content or choice.message.refusal or ""
        return self._answer(self._shown(text), conv, choice.finish_reason)

    def _pieces(
        self, pieces: Any, conv: Conversation, secret: SecretPrompt | None, opened: contextlib.ExitStack
    ) -> Generator[AnswerPiece, None, None]:
        watched = None if self._leaks is None else self._leaks.stream()
        said, finish = "", "stop"
        with opened, told(secret):
            for choice in (piece.choices[0] for piece in pieces if piece.choices):
                finish = choice.finish_reason or finish
                text = choice.delta.content or ""
                text = text if watched is None else watched.feed(text)
                said += text
                if text:
                    yield AnswerPiece(text)
                if watched is not None and watched.leak is not None:
                    break
        rest = "" if watched is None else watched.finish()
        if watched is not None and watched.leak is not None and not said:
            rest = REFUSAL
        yield AnswerPiece(rest, self._answer(said + rest, conv, finish))

    def _shown(self, text: str) -> str:
        return REFUSAL if self._leaks is not None and self._leaks.find(text) is not None else text

    def _answer(self, text: str, conv: Conversation, finish: str) -> Answer:
        # Counted here and not by the API, whose count holds the secret.
        usage = Usage(len(render_prompt(conv, self.template)), len(self.template.encode(text)) + 1)
        how: Finish = "length" if finish == "length" else "stop"
        return Answer(text, how, usage)

    def _body(self, conv: Conversation, secret: SecretPrompt | None, options: GenerationOptions) -> dict[str, Any]:
        if options.min_new_tokens:
            raise UsageError("min_new_tokens cannot be asked of an API; leave it out", param="min_new_tokens")
        sent = conv if secret is None else assemble(conv, secret.reveal(), self.system_style)
        body: dict[str, Any] = {
            **msgspec.to_builtins(sent),
            "model": self.endpoint.model,
            "max_tokens": options.max_new_tokens,
            "temperature": options.temperature,
        }
        return body if options.temperature == 0 else {**body, "top_p": options.top_p, "seed": options.seed}

    def _client(self) -> OpenAI:
        return client_of(self.endpoint.url, self.endpoint.key_env, retries=_RETRIES)
