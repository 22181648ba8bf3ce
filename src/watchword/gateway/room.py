"""How much of a server's context is a tenant's. The bound tells only roughly how long the secret is.

An exact bound would tell the secret's length, in an error's words or to whoever tries one ``max_tokens`` after another. So
it is rounded down, and the rounded one is kept everywhere: what is asked for, what is refused, and where answers end.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from watchword.gateway.call import ChatCall
from watchword.gateway.wire.refusals import too_long

# Bounds of tenants are multiples of this many tokens.
STEP = 64
# Tokens by which a secret may take more in one conversation than in another, so that the bound is the same in all.
_SLACK = 8
# A request that surely takes no more than this part of the bound is not counted: counting takes longer than all else.
_PART = 4
# Tokens that a template may write around the messages: headers, and a system text of its own.
_AROUND = 1024
# No real text has so many bytes for each token. What has more is refused unread: to count 20 MB takes half a minute.
_MOST_BYTES = 128


def bound_of(context: int, hidden: int) -> int:
    """The most tokens that a tenant's request and its answer may have together, where ``hidden`` more are the secret's."""
    if hidden == 0:
        return context
    return max(0, (context - hidden - _SLACK) // STEP * STEP)


def check_size(call: ChatCall, bound: int) -> None:
    """Raises CallError for a request that is far too long, before anything is rendered or tokenized for it."""
    conv = call.conversation
    if len(msgspec.json.encode([conv.messages, conv.tools])) > (bound + _AROUND) * _MOST_BYTES:
        raise too_long(None, bound)


def surely_fits(call: ChatCall, sent_bytes: int, bound: int) -> bool:
    """Whether nothing has to be counted, of a request that says how long the answer may be."""
    return "max_tokens" in call.options and sent_bytes + call.options["max_tokens"] <= bound


def answered_in_rest(call: ChatCall, bound: int) -> ChatCall:
    """A short call without ``max_tokens`` with one that surely leaves room for it; any other call as it is.

    Only the tenant's own bytes decide: with the secret's among them, the edge would tell how many those are.
    """
    if "max_tokens" in call.options or call.pictures or call.conversation.tools:
        return call
    # No text has more tokens than bytes.
    if len(msgspec.json.encode(call.conversation.messages)) + _AROUND > bound // _PART:
        return call
    return replace(call, options={**call.options, "max_tokens": bound - bound // _PART})


def bounded(call: ChatCall, own: int | None, bound: int) -> ChatCall:
    """The call with an answer no longer than there is room for. ``own`` is the request's tokens, None where unknown.

    Raises CallError for one that leaves no room for the answer asked for: an engine might cut it, and the secret with it.
    """
    if own is None:
        return call
    if own + call.options.get("max_tokens", 1) > bound:
        raise too_long(own, bound)
    # Pictures are not counted here; with them only the server knows how much room there is.
    if "max_tokens" in call.options or call.pictures:
        return call
    return replace(call, options={**call.options, "max_tokens": bound - own})
