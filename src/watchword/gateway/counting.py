"""Token counts in a tenant's terms: what the request would have cost without the secret. The upstream's own are not passed on."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import msgspec

from watchword.chat.render import render_prompt
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, Message
from watchword.errors import TemplateError
from watchword.gateway.call import PICTURE, Counts
from watchword.gateway.guarding import GuardedCall
from watchword.gateway.tokenizing import tokenizing

_KEPT = 4_096
# Tokens that a picture may take, at most.
_PICTURE = 1 << 14
_USER = Message(role="user", content=".")


class TokenCounter:
    """Counts with a release's own tokenizer. What the secret adds is counted once for each system text."""

    def __init__(self, template: ChatTemplate) -> None:
        self.template = template
        self._added: OrderedDict[bytes, int] = OrderedDict()

    def added(self, call: GuardedCall) -> int:
        """Tokens that the secret adds to this request: the difference of both renderings of its first messages."""
        if call.asked is call.sent:
            return 0
        digest = self._digest(call.asked)
        if digest in self._added:
            self._added.move_to_end(digest)
            return self._added[digest]
        with_secret, without = (self.prompt_now(self._front(conv)) for conv in (call.sent, call.asked))
        self._added[digest] = found = max(0, (with_secret or 0) - (without or 0))
        if len(self._added) > _KEPT:
            self._added.popitem(last=False)
        return found

    async def counts(self, call: GuardedCall, upstream: Counts | None, said: str, *, sent_bytes: int) -> Counts:
        """Usage for the tenant. An upstream's count that cannot be true is not believed: then it is counted here.

        ``sent_bytes`` is the size of the request as it was sent: no more tokens than bytes are in it, pictures apart.
        """
        believed = self._believed(call, upstream, sent_bytes)
        return believed or Counts(await self.prompt(call.asked) or 0, self.completion(said))

    def counts_now(self, call: GuardedCall, upstream: Counts | None, said: str, *, sent_bytes: int) -> Counts:
        """The same for a caller without an event loop."""
        believed = self._believed(call, upstream, sent_bytes)
        return believed or Counts(self.prompt_now(call.asked) or 0, self.completion(said))

    def _believed(self, call: GuardedCall, upstream: Counts | None, sent_bytes: int) -> Counts | None:
        if upstream is not None:
            prompt = upstream.prompt - self.added(call)
            if 0 < prompt <= sent_bytes + _PICTURE * _pictures(call.asked):
                return Counts(prompt, upstream.completion)
        return None

    async def prompt(self, conv: Conversation) -> int | None:
        """Tokens of a request, counted without holding up others; None where the template cannot write it."""
        return await tokenizing(self.prompt_now, conv)

    def completion(self, said: str) -> int:
        """Tokens of what the model said."""
        return len(self.template.encode(said))

    def prompt_now(self, conv: Conversation) -> int | None:
        """The same for a caller without an event loop."""
        try:
            return len(render_prompt(conv, self.template))
        except TemplateError:
            return None

    def _front(self, conv: Conversation) -> Conversation:
        """The messages that a secret may change, and no more."""
        if self._in_user_turn(conv):
            ends = (at for at, message in enumerate(conv.messages) if message.role == "user")
            return msgspec.structs.replace(conv, messages=conv.messages[: next(ends, len(conv.messages)) + 1])
        system = conv.messages[:1] if conv.system is not None else ()
        return msgspec.structs.replace(conv, messages=(*system, _USER))

    def _digest(self, conv: Conversation) -> bytes:
        """Of all that decides what a secret adds."""
        user = self._front(conv).messages[-1].text if self._in_user_turn(conv) else None
        return hashlib.sha256(msgspec.json.encode([conv.system, user, bool(conv.tools)])).digest()

    def _in_user_turn(self, conv: Conversation) -> bool:
        return self.template.variant(conv).system_placement == "first_user"


def _pictures(conv: Conversation) -> int:
    contents = (message.content for message in conv.messages if isinstance(message.content, tuple))
    return sum(part.type == PICTURE for content in contents for part in content)
