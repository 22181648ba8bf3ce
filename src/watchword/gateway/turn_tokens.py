"""Requests that would write turns of their own: the template's special tokens have no place in what a tenant says.

A tokenizer reads them in any text. A message with an end and a beginning of turns in it would be several messages. A late
system message could be among them, and one that stands alone is refused.
"""

from __future__ import annotations

from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation
from watchword.errors import CallError
from watchword.gateway.wire.chat.writing import ChatWriter
from watchword.gateway.wire.decoding import invalid
from watchword.gateway.wire.form import Asked
from watchword.secret.known import texts_of


def check_turn_tokens(asked: Asked, template: ChatTemplate) -> None:
    """Raises CallError for a request with one of the tokens that the template writes around turns."""
    conv = asked.call.conversation
    if (token := _found(conv, template)) is None:
        return
    for index, message in enumerate(conv.messages):
        if (own := _found(Conversation((message,)), template)) is not None:
            # Other forms have their messages elsewhere.
            place = f"messages[{index}]" if isinstance(asked.writer, ChatWriter) else "messages"
            raise _refused(own, f"a {message.role} message", place)
    raise _refused(token, "a tool", "tools")


def _found(conv: Conversation, template: ChatTemplate) -> str | None:
    return next((token for text in texts_of(conv) for token in template.turn_tokens if token in text), None)


def _refused(token: str, where: str, param: str) -> CallError:
    return invalid(
        f"The text of {where} holds {token!r}, which this model reads as a turn's edge; leave it out.", param
    )
