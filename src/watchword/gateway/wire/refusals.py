"""What a tenant is told when the model's server refuses. Nothing that the server says is passed on: it may quote the prompt."""

from __future__ import annotations

import contextlib
import re

import msgspec

from watchword.errors import CallError
from watchword.files.decoding import DECODE_ERRORS
from watchword.gateway.wire.reply import no_reply

# How servers say that a request is too long: vLLM, SGLang, llama.cpp, hosted ones.
_TOO_LONG = re.compile(
    rb"context[_ ](length|window|size)|maximum (input|prompt|model) length|max_model_len|(input|prompt).{0,40}too long",
    re.IGNORECASE | re.DOTALL,
)
# Settings of a tenant's own, by which a server may say what it does not take.
_SETTINGS = frozenset(
    {
        *(
            "response_format",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "logit_bias",
            "logprobs",
            "top_logprobs",
            "n",
        ),
        *("temperature", "top_p", "stop", "seed", "presence_penalty", "frequency_penalty", "max_tokens"),
    }
)
# Statuses of a fault that is the request's.
REQUEST_FAULTS = (400, 413, 422)


def refusal(status: int, said: bytes = b"") -> CallError:
    """The error for a response of this status. Of what was ``said`` only whether it is about length is of interest."""
    if status in REQUEST_FAULTS:
        if _TOO_LONG.search(said):
            return too_long(None, None)
        return _not_taken(said) or CallError("The model's server rejects this request.", openai_code="invalid_request")
    if status == 429:
        return CallError("The model's server is busy; try again.", openai_code="rate_limit_exceeded", retry_after=1)
    if status in (404, 503):
        return CallError(
            "The model is not being served at the moment; try again later.", openai_code="model_unavailable"
        )
    return no_reply()


class _Named(msgspec.Struct):
    code: str
    param: str


class _Refusal(msgspec.Struct):
    error: _Named


def _not_taken(said: bytes) -> CallError | None:
    """The error for a setting that the server does not take, where it says so in OpenAI's form; else None."""
    with contextlib.suppress(*DECODE_ERRORS):
        named = msgspec.json.decode(said, type=_Refusal).error
        if named.code == "unsupported_parameter" and named.param in _SETTINGS:
            return CallError(
                "The model's server does not take this parameter.", openai_code=named.code, param=named.param
            )
    return None


def too_long(own: int | None, limit: int | None) -> CallError:
    """A request that is too long, in the tenant's own figures, in which the secret is not counted."""
    bound = "" if limit is None else f" of {limit} tokens"
    length = "Your request is" if own is None else f"Your request has {own} tokens, which is"
    return CallError(
        f"This model's maximum context length{bound} is exceeded. {length} too long together with the answer asked for; "
        "shorten the request, or ask for fewer tokens.",
        openai_code="context_length_exceeded",
        param="messages",
    )
