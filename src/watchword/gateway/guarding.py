"""A request as the upstream is to get it: guarded by the release's defense, assembled by the one prompt assembly."""

from __future__ import annotations

from dataclasses import dataclass

from watchword.chat.types import Conversation
from watchword.errors import CallError, TemplateError, UnsealError
from watchword.release.reading import Guarded


@dataclass(frozen=True, repr=False)
class GuardedCall:
    """``asked`` is the conversation as the tenant's own, ``sent`` the one with all that the provider adds. Never shown."""

    asked: Conversation
    sent: Conversation


def guarded_call(conv: Conversation, release: Guarded) -> GuardedCall:
    """The conversation with the release's secret in its place.

    Raises CallError where the conversation has no place for it, in words that tell nothing of the secret. Raises
    UnsealError where a release with a secret would be asked without it.
    """
    guard = release.defense.guard(conv)
    if guard.secret is None:
        if release.secret is not None:
            raise UnsealError(
                "the defense put no secret in front of a request, and its release has one; it is not served"
            )
        return GuardedCall(conv, guard.conversation)
    try:
        sent = guard.assembled(release.system_style)
    except TemplateError:
        # Without its cause: a template's words may quote the conversation, and with it the secret.
        raise CallError(
            "This model does not take these messages; begin with a system or user message, and add a user message.",
            openai_code="invalid_value",
            param="messages",
        ) from None
    return GuardedCall(conv, sent)
