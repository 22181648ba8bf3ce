"""A completion's bytes → a chat of one message. A raw prompt would stand outside the template, and outside its safety."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from watchword.chat.types import conversation
from watchword.gateway.call import ChatCall
from watchword.gateway.wire.chat.reading import check_shared, shared_options
from watchword.gateway.wire.completions.request import CompletionsBody
from watchword.gateway.wire.completions.writing import CompletionsWriter
from watchword.gateway.wire.decoding import decoded, invalid, unsupported
from watchword.gateway.wire.faults import unsupported_model
from watchword.gateway.wire.form import AllowedFor, Asked

_DECODER = msgspec.json.Decoder(CompletionsBody)


def read_completions(data: bytes, allowed_for: AllowedFor = lambda _: ()) -> Asked:
    """The request, and what writes the reply. Raises CallError with OpenAI's code and the field."""
    body = decoded(_DECODER, data)
    _check_policy(body, allowed_for(body.model))
    call = ChatCall(
        model=body.model,
        conversation=conversation(_prompt(body)),
        options=shared_options(body),
        answers=body.n or 1,
        stream=bool(body.stream),
        include_usage=body.stream_options is not None and bool(body.stream_options.include_usage),
    )
    return Asked(call, CompletionsWriter(call))


def _check_policy(body: CompletionsBody, allowed: Collection[str]) -> None:
    if "completions" not in allowed:
        raise unsupported_model("takes chats only; ask it at /v1/chat/completions.", body.model)
    if body.echo:
        raise unsupported("echo", "the prompt is not said again")
    if body.suffix is not None:
        raise unsupported("suffix", "text is not filled in")
    if body.best_of not in (None, 1):
        raise unsupported("best_of", "answers are not compared here; ask for 'n' of them")
    if body.logprobs is not None:
        raise unsupported("logprobs", "log probabilities are for /v1/chat/completions")
    check_shared(body, allowed)


def _prompt(body: CompletionsBody) -> str:
    """The one text that is asked."""
    given = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    if not all(isinstance(one, str) for one in given):
        raise invalid("Token ids are not taken as a prompt; send its text.", "prompt")
    if len(given) > 1:
        raise invalid("Several prompts are not taken at once; send a request for each.", "prompt")
    return str(given[0])
