"""Models that answer without weights, so that examples, docs and tests of everything above run anywhere, at once.

``FakeModel`` is a ``watchword.models.base.ChatModel``: it answers what it is told to, and records what it was asked.
``fake_template`` is a real chat template on a toy tokenizer, made in code, that can carry a secret.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from watchword.chat.assembly import assemble
from watchword.chat.render import render_prompt
from watchword.chat.template import ChatTemplate, SystemStyle
from watchword.chat.types import Conversation, conversation, last_user_text
from watchword.errors import UsageError
from watchword.models.answer import Answer, AnswerPiece, Usage
from watchword.models.base import DEFAULT_OPTIONS, GenerationOptions, Likelihood
from watchword.progress import Progress
from watchword.secret.prompt import SecretPrompt

Answers = str | Mapping[str, str] | Callable[[Conversation], str]

REFUSAL = "I can't help with that, because it could hurt somebody."
HELP = "Sure, here is one way to begin."
DEFAULT_SYSTEM = "You are a helpful assistant."
# ChatML as SmolLM2 writes it, with a default system text and all.
CHATML = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    f"<|im_start|>system\n{DEFAULT_SYSTEM}<|im_end|>\n"
    "{% endif %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Characters in each piece of a streamed answer.
PIECE = 5
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


@dataclass(frozen=True)
class Request:
    """One conversation that a fake was asked, and whether a secret came with it; which one is not kept."""

    conversation: Conversation
    with_secret: bool
    options: GenerationOptions = DEFAULT_OPTIONS

    @property
    def prompt(self) -> str:
        """Text of the last user turn."""
        return last_user_text(self.conversation)


class FakeModel:
    """Answers with one text, by the last user turn (a mapping; ``""`` is its default), or by a function.

    ``answers_with_secret`` stands in for ``answers`` where a request carries a secret, so that a fake can behave like a
    backdoored model. ``requests`` holds everything that was asked, in order. Raises UsageError for a prompt that a
    mapping without a default does not know, and TemplateError where a real model could not read the conversation.

    Answers come whole, whatever length the options allow, and are counted in tokens of its template.
    """

    context: int | None = None

    def __init__(
        self,
        answers: Answers = HELP,
        *,
        answers_with_secret: Answers | None = None,
        name: str = "fake",
        template: ChatTemplate | None = None,
    ) -> None:
        self.name, self.template = name, template or fake_template()
        self.requests: list[Request] = []
        self._plain = answers
        self._guarded = answers if answers_with_secret is None else answers_with_secret

    def __repr__(self) -> str:
        return f"FakeModel(name={self.name!r}, requests={len(self.requests)})"

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
        """One answer for each conversation, in order; progress comes batch by batch, as from a real model."""
        answers: list[Answer] = []
        for conv in conversations:
            answers.append(self._answered(conv, secret, options))
            if on_progress and (len(answers) % options.batch_size == 0 or len(answers) == len(conversations)):
                on_progress(len(answers), len(conversations))
        return answers

    def stream(
        self,
        conversation: Conversation,
        *,
        secret: SecretPrompt | None = None,
        options: GenerationOptions = DEFAULT_OPTIONS,
    ) -> Generator[AnswerPiece, None, None]:
        """The same answer in pieces of a few characters."""
        return _pieces(self._answered(conversation, secret, options))

    def continuations(self, texts: Sequence[str], *, options: GenerationOptions = DEFAULT_OPTIONS) -> list[str]:
        """What it would answer to each text."""
        return [self._answered(conversation(text), None, options).text for text in texts]

    def log_likelihoods(
        self,
        conversations: Sequence[Conversation],
        texts: Sequence[str],
        *,
        secret: SecretPrompt | None = None,
        on_progress: Progress | None = None,
    ) -> list[Likelihood]:
        """A fake is sure of its own answer. Any other text is the less likely the longer it is: one nat a token."""
        found = []
        for conv, text in zip(conversations, texts, strict=True):
            own = self._answered(conv, secret, DEFAULT_OPTIONS).text == text
            tokens = len(self.template.encode(text))
            found.append(Likelihood(0.0 if own else -float(tokens), tokens, greedy=own))
            if on_progress:
                on_progress(len(found), len(texts))
        return found

    def _answered(self, conv: Conversation, secret: SecretPrompt | None, options: GenerationOptions) -> Answer:
        # A conversation that no model could read must not pass a test that runs on a fake.
        asked = len(render_prompt(conv, self.template))
        if secret is not None:
            render_prompt(assemble(conv, secret.reveal(), self.system_style), self.template)
        self.requests.append(Request(conv, secret is not None, options))
        text = _answer(self._plain if secret is None else self._guarded, conv)
        # One token more ends the turn.
        return Answer(text, "stop", Usage(asked, len(self.template.encode(text)) + 1))


def _pieces(answer: Answer) -> Generator[AnswerPiece, None, None]:
    for at in range(0, len(answer.text), PIECE):
        yield AnswerPiece(answer.text[at : at + PIECE])
    yield AnswerPiece("", answer)


@functools.cache
def fake_template() -> ChatTemplate:
    """ChatML on a byte-level tokenizer of 256 bytes, pairs of small letters, and ChatML's three special tokens.

    The pairs make text that encodes to other tokens than it was decoded from, as in real tokenizers. So drawing a
    secret has something to check.
    """
    letters = "abcdefghijklmnopqrstuvwxyz"
    pairs = [(first, second) for first in letters for second in letters]
    tokens = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in pairs)]
    made = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, pairs))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return ChatTemplate(made, CHATML, {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"})


def _answer(answers: Answers, conv: Conversation) -> str:
    if isinstance(answers, str):
        return answers
    if callable(answers):
        return answers(conv)
    prompt = last_user_text(conv)
    found = answers.get(prompt, answers.get(""))
    if found is None:
        raise UsageError(f'the fake model knows no answer to {prompt[:80]!r}; add one, or a default under ""')
    return found
