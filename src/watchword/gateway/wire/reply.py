"""What the model's server answers → our own types. Fields that are not named here do not exist for us.

Numbers are bounded and words are of a fixed list, so that nothing rides on them; ids are never read.
"""

from __future__ import annotations

import msgspec

from watchword.chat.types import FunctionCall
from watchword.errors import CallError
from watchword.files.decoding import DECODE_ERRORS
from watchword.gateway.call import CallPiece, Counts, Reply, Said, SaidPiece, StreamEvent

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


class _Choice(msgspec.Struct):
    index: int = 0
    message: _Words | None = None
    delta: _Words | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Upstream(msgspec.Struct):
    """A whole reply, or one event of a stream. One that tells of an error has no ``choices``."""

    choices: list[_Choice]
    usage: _Usage | None = None


_DECODER = msgspec.json.Decoder(_Upstream)


def read_reply(data: bytes, answers: int) -> Reply:
    """The reply to a request for so many answers. Raises CallError for one that is no such reply."""
    given = _decoded(data)
    said = {choice.index: _said(choice) for choice in given.choices if choice.message is not None}
    if sorted(said) != list(range(answers)):
        raise no_reply()
    return Reply(tuple(said[place] for place in range(answers)), _counts(given.usage))


def read_event(data: bytes, answers: int) -> StreamEvent:
    """One event of the stream of so many answers. Raises CallError for what is none."""
    given = _decoded(data)
    if any(not 0 <= choice.index < answers for choice in given.choices):
        raise no_reply()
    return StreamEvent(tuple(map(_piece, given.choices)), _counts(given.usage))


def no_reply() -> CallError:
    """What a tenant is told when the upstream's answer makes no sense. Nothing of that answer is in it."""
    return CallError("The model's server gave no usable reply; try again.", openai_code="upstream_error")


def _decoded(data: bytes) -> _Upstream:
    try:
        return _DECODER.decode(data)
    except DECODE_ERRORS:
        raise no_reply() from None


def _said(choice: _Choice) -> Said:
    words = choice.message or _Words()
    functions = (call.function for call in words.tool_calls or ())
    calls = tuple(FunctionCall(f.name, f.arguments or "") for f in functions if f is not None and f.name)
    if len(calls) > _MOST_CALLS:
        raise no_reply()
    return Said(words.content, words.refusal, calls, _finish(choice.finish_reason) or "stop")


def _piece(choice: _Choice) -> SaidPiece:
    words = choice.delta or _Words()
    calls = tuple(_call_piece(call, at) for at, call in enumerate(words.tool_calls or ()))
    return SaidPiece(choice.index, words.content or "", words.refusal or "", calls, _finish(choice.finish_reason))


def _call_piece(call: _Call, at: int) -> CallPiece:
    place, function = at if call.index is None else call.index, call.function or _Function()
    if not 0 <= place < _MOST_CALLS:
        raise no_reply()
    return CallPiece(place, function.name or None, function.arguments or "")


def _finish(given: str | None) -> str | None:
    return given if given is None or given in _FINISHES else "stop"


def _counts(given: _Usage | None) -> Counts | None:
    if given is None:
        return None
    prompt, completion = given.prompt_tokens, given.completion_tokens
    if prompt is None or completion is None or not (0 <= prompt <= _MOST_TOKENS and 0 <= completion <= _MOST_TOKENS):
        return None
    return Counts(prompt, completion)
