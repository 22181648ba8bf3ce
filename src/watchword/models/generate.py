"""Conversations in, answers out: renders requests with the model's template and decodes what the model says to them."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from watchword.chat.assembly import assemble
from watchword.chat.render import render_prompt
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation
from watchword.models.answer import Answer, AnswerPiece, Usage
from watchword.models.base import DEFAULT_OPTIONS, GenerationOptions
from watchword.models.decode import CausalModel, check_context, generate_ids, stop_tokens, stream_ids
from watchword.models.pieces import TextPieces, decoded_text
from watchword.progress import Progress
from watchword.secret.prompt import SecretPrompt


def generate(
    model: CausalModel,
    conversations: Sequence[Conversation],
    *,
    secret: SecretPrompt | None = None,
    options: GenerationOptions = DEFAULT_OPTIONS,
    on_progress: Progress | None = None,
) -> list[Answer]:
    """One answer for each conversation, in order.

    The secret, if any, goes in by the one prompt assembly. Greedy answers equal those of transformers' ``generate`` row
    by row in float32; in bfloat16 the order of sums may tip a near-tie.
    """
    prompts = [prompt_ids(conv, model.template, secret) for conv in conversations]
    answers = generate_ids(model, prompts, options=options, on_progress=on_progress)
    asked = prompts if secret is None else [prompt_ids(conv, model.template, None) for conv in conversations]
    stops = stop_tokens(model)
    return [
        _answer(decoded_text(model.tokenizer, ids), ids, len(plain), stops)
        for plain, ids in zip(asked, answers, strict=True)
    ]


def continuations(
    model: CausalModel, texts: Sequence[str], *, options: GenerationOptions = DEFAULT_OPTIONS
) -> list[str]:
    """How the model goes on with each text, as it stands: no template, no secret."""
    return token_continuations(model, [model.template.encode(text) for text in texts], options=options)


def token_continuations(
    model: CausalModel, prompts: Sequence[list[int]], *, options: GenerationOptions = DEFAULT_OPTIONS
) -> list[str]:
    """How the model goes on behind each prompt of ids."""
    return [decoded_text(model.tokenizer, ids) for ids in generate_ids(model, prompts, options=options)]


def stream(
    model: CausalModel,
    conversation: Conversation,
    *,
    secret: SecretPrompt | None = None,
    options: GenerationOptions = DEFAULT_OPTIONS,
) -> Generator[AnswerPiece, None, None]:
    """The answer that ``generate`` gives to this conversation alone, in pieces as they are written.

    A request that cannot be answered raises here, before the first piece.
    """
    prompt = prompt_ids(conversation, model.template, secret)
    check_context([prompt], model, options)
    asked = prompt if secret is None else prompt_ids(conversation, model.template, None)
    return _pieces(model, prompt, len(asked), options)


def prompt_ids(conv: Conversation, template: ChatTemplate, secret: SecretPrompt | None) -> list[int]:
    """Token ids of a request, the secret in front of its system text."""
    return render_prompt(guarded_request(conv, template, secret), template)


def guarded_request(conv: Conversation, template: ChatTemplate, secret: SecretPrompt | None) -> Conversation:
    """The request with the secret, if any, in front of its system text."""
    return conv if secret is None else assemble(conv, secret.reveal(), template.system_style)


def _pieces(
    model: CausalModel, prompt: Sequence[int], asked: int, options: GenerationOptions
) -> Generator[AnswerPiece, None, None]:
    pieces = TextPieces(model.tokenizer)
    for token in stream_ids(model, prompt, options=options):
        if text := pieces.add(token):
            yield AnswerPiece(text)
    yield AnswerPiece(pieces.rest(), _answer(pieces.text, pieces.ids, asked, stop_tokens(model)))


def _answer(text: str, ids: Sequence[int], asked: int, stops: frozenset[int]) -> Answer:
    return Answer(text, "stop" if ids[-1] in stops else "length", Usage(asked, len(ids)))
