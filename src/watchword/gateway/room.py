"""How much of a server's context is a tenant's. The bound tells only roughly how long the secret is.

An exact bound would tell the secret's length, in an error's words or to whoever tries one ``max_tokens`` after another. So
it is rounded down, and the rounded one is kept everywhere: what is asked for, what is refused, and where answers end.
"""

from __future__ import annotations

from dataclasses import replace

from watchword.gateway.call import ChatCall
from watchword.gateway.wire.refusals import too_long

# Bounds of tenants are multiples of this many tokens.
STEP = 64
# Tokens by which a secret may take more in one conversation than in another, so that the bound is the same in all.
_SLACK = 8


def bound_of(context: int | None, hidden: int) -> int | None:
    """The most tokens that a tenant's request and its answer may have together, where ``hidden`` more are the secret's."""
    if context is None or hidden == 0:
        return context
    return max(0, (context - hidden - _SLACK) // STEP * STEP)


def surely_fits(call: ChatCall, sent_bytes: int, bound: int | None) -> bool:
    """Whether nothing has to be counted: no request has more tokens than bytes.

    An answer of no given length goes on to the end of the context, so the request must be counted to bound it.
    """
    return bound is None or ("max_tokens" in call.options and sent_bytes + call.options["max_tokens"] <= bound)


def bounded(call: ChatCall, own: int | None, bound: int | None) -> ChatCall:
    """The call with an answer no longer than there is room for. ``own`` is the request's tokens, None where unknown.

    Raises CallError for one that leaves no room for the answer asked for: an engine might cut it, and the secret with it.
    """
    if own is None or bound is None:
        return call
    if own + call.options.get("max_tokens", 1) > bound:
        raise too_long(own, bound)
    # Pictures are not counted here; with them only the server knows how much room there is.
    if "max_tokens" in call.options or call.pictures:
        return call
    return replace(call, options={**call.options, "max_tokens": bound - own})
