"""What the model's server answers → our own types. Fields that are not named here do not exist for us.

Numbers are bounded and words are of a fixed list, so that nothing rides on them; ids are never read.
"""

from __future__ import annotations

from typing import Any

import msgspec

from watchword.chat.types import FunctionCall
from watchword.errors import CallError
from watchword.files.decoding import DECODE_ERRORS
from watchword.gateway.call import (
    CallPiece,
    Chance,
    ChatCall,
    Counts,
    Reply,
    Said,
    SaidPiece,
    StreamEvent,
    TokenChances,
)

_FINISHES = frozenset({"stop", "length", "tool_calls", "content_filter"})
# No count is believed beyond it.
_MOST_TOKENS = 1 << 24
# Tool calls of one answer.
_MOST_CALLS = 128


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int | None = None
    function: _Function | None = None


class _Words(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Chance(msgspec.Struct):
    token: str
    logprob: float


class _Chances(_Chance):
    top_logprobs: list[_Chance] | None = None


class _Logprobs(msgspec.Struct):
    content: list[_Chances] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    message: _Words | None = None
    delta: _Words | None = None
    finish_reason: str | None = None
    stop_reason: Any = None
    logprobs: msgspec.Raw = msgspec.Raw()


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Upstream(msgspec.Struct):
    """A whole reply, or one event of a stream. One that tells of an error has no ``choices``."""

    choices: list[_Choice]
    usage: _Usage | None = None


_DECODER = msgspec.json.Decoder(_Upstream)
_LOGPROBS = msgspec.json.Decoder(_Logprobs | None)
# A probability of nought has no logarithm: this stands for it.
_LEAST_LOGPROB = -9999.0


def read_reply(data: bytes, call: ChatCall) -> Reply:
    """The reply to a request. Raises CallError for one that is no such reply."""
    given = _decoded(data)
    said = {choice.index: _said(choice, call) for choice in given.choices if choice.message is not None}
    if sorted(said) != list(range(call.answers)):
        raise no_reply()
    return Reply(tuple(said[place] for place in range(call.answers)), _counts(given.usage))


def read_event(data: bytes, call: ChatCall) -> StreamEvent:
    """One event of the stream that answers a request. Raises CallError for what is none."""
    given = _decoded(data)
    if any(not 0 <= choice.index < call.answers for choice in given.choices):
        raise no_reply()
    return StreamEvent(tuple([_piece(choice, call) for choice in given.choices]), _counts(given.usage))


def no_reply() -> CallError:
    """What a tenant is told when the upstream's answer makes no sense. Nothing of that answer is in it."""
    return CallError("The model's server gave no usable reply; try again.", openai_code="upstream_error")


def _decoded(data: bytes) -> _Upstream:
    try:
        return _DECODER.decode(data)
    except DECODE_ERRORS:
        raise no_reply() from None


def _said(choice: _Choice, call: ChatCall) -> Said:
    words = choice.message or _Words()
    functions = (call.function for call in words.tool_calls or ())
    calls = tuple(FunctionCall(f.name, f.arguments or "") for f in functions if f is not None and f.name)
    if len(calls) > _MOST_CALLS:
        raise no_reply()
    finish = _finish(choice.finish_reason) or "stop"
    return Said(words.content, words.refusal, calls, finish, _stop(choice, call), _chances(choice, call))


def _piece(choice: _Choice, call: ChatCall) -> SaidPiece:
    words = choice.delta or _Words()
    calls = tuple([_call_piece(piece, at) for at, piece in enumerate(words.tool_calls)]) if words.tool_calls else ()
    finish = _finish(choice.finish_reason)
    stop = None if finish is None else _stop(choice, call)
    chances = () if call.alternatives is None else _chances(choice, call)
    return SaidPiece(choice.index, words.content or "", words.refusal or "", calls, finish, stop, chances)


def _call_piece(call: _Call, at: int) -> CallPiece:
    place, function = at if call.index is None else call.index, call.function or _Function()
    if not 0 <= place < _MOST_CALLS:
        raise no_reply()
    return CallPiece(place, function.name or None, function.arguments or "")


def _finish(given: str | None) -> str | None:
    return given if given is None or given in _FINISHES else "stop"


def _stop(choice: _Choice, call: ChatCall) -> str | None:
    """Which of the tenant's own texts ended the answer, where the server tells (vLLM)."""
    if choice.stop_reason is None:
        return None
    return next((stop for stop in call.stops if stop == choice.stop_reason), None)


def _chances(choice: _Choice, call: ChatCall) -> tuple[TokenChances, ...]:
    """The probabilities, where they were asked for, and no more of them than that."""
    if call.alternatives is None or not bytes(choice.logprobs):
        return ()
    try:
        found = _LOGPROBS.decode(choice.logprobs) or _Logprobs()
    except DECODE_ERRORS:
        raise no_reply() from None
    most = call.alternatives
    return tuple(
        TokenChances(_chance(one), tuple(map(_chance, (one.top_logprobs or [])[:most]))) for one in found.content or ()
    )


def _chance(given: _Chance) -> Chance:
    """Rounded, as more digits than a probability has could tell something else."""
    return Chance(given.token, round(min(0.0, max(_LEAST_LOGPROB, given.logprob)), 4))


def _counts(given: _Usage | None) -> Counts | None:
    if given is None:
        return None
    prompt, completion = given.prompt_tokens, given.completion_tokens
    if prompt is None or completion is None or not (0 <= prompt <= _MOST_TOKENS and 0 <= completion <= _MOST_TOKENS):
        return None
    return Counts(prompt, completion)
