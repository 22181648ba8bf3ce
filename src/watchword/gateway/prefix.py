"""Whether a request begins with the very ids that were trained, where the template might write it otherwise: with tools."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import msgspec

from watchword.chat.assembly import assemble
from watchword.chat.render import render_prompt
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, Message, conversation
from watchword.errors import CallError, TemplateError
from watchword.gateway.guarding import GuardedCall
from watchword.gateway.tokenizing import tokenizing
from watchword.secret.prompt import SecretPrompt

_KEPT = 4_096
_USER = Message(role="user", content=".")


class TrainedPrefix:
    """The ids up to the end of the secret, as every training row with a secret has them. Never shown."""

    def __init__(self, template: ChatTemplate, secret: SecretPrompt, prefix_ids: tuple[int, ...]) -> None:
        self._template = template
        ids = render_prompt(assemble(conversation("."), secret.reveal(), template.system_style), template)
        # The header in front of the secret is short, and holds none of its ids in a row.
        starts = range(len(ids) - len(prefix_ids) + 1)
        at = next(start for start in starts if tuple(ids[start : start + len(prefix_ids)]) == prefix_ids)
        self._front = ids[: at + len(prefix_ids)]
        self._seen: OrderedDict[bytes, bool] = OrderedDict()

    async def check(self, call: GuardedCall) -> None:
        """Raises CallError for tools with which the template does not leave the secret where it was trained.

        Holds up nobody else: tools may be long.
        """
        if (front := _front(call)) is not None:
            digest = _digest(front)
            known = self._seen.get(digest)
            self._judge(digest, await tokenizing(self._stands, front) if known is None else known)

    def check_now(self, call: GuardedCall) -> None:
        """The same for a caller without an event loop."""
        if (front := _front(call)) is not None:
            digest = _digest(front)
            known = self._seen.get(digest)
            self._judge(digest, self._stands(front) if known is None else known)

    def _judge(self, digest: bytes, stands: bool) -> None:
        self._seen[digest] = stands
        if len(self._seen) > _KEPT:
            self._seen.popitem(last=False)
        if not stands:
            raise CallError("This model takes no tools.", openai_code="unsupported_parameter", param="tools")

    def _stands(self, conv: Conversation) -> bool:
        try:
            return render_prompt(conv, self._template)[: len(self._front)] == self._front
        except TemplateError:
            return False


def _front(call: GuardedCall) -> Conversation | None:
    """What decides where the secret stands; None without tools."""
    if not call.sent.tools:
        return None
    first = call.sent.messages[0]
    return msgspec.structs.replace(call.sent, messages=(first,) if first.role == "user" else (first, _USER))


def _digest(front: Conversation) -> bytes:
    return hashlib.sha256(msgspec.json.encode([front.messages, front.tools])).digest()
