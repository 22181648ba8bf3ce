"""Requests that would write turns of their own: the template's special tokens have no place in what a tenant says.

A tokenizer reads them in any text. A message with an end and a beginning of turns in it would be several messages. A late
system message could be among them, and one that stands alone is refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec

from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, Message
from watchword.errors import CallError
from watchword.gateway.wire.chat.writing import ChatWriter
from watchword.gateway.wire.decoding import invalid
from watchword.gateway.wire.form import Asked


def check_turn_tokens(asked: Asked, template: ChatTemplate) -> None:
    """Raises CallError for a request with one of the tokens that the template writes around turns."""
    conv = asked.call.conversation
    for index, message in enumerate(conv.messages):
        if (token := _found(_texts(message), template)) is not None:
            # Other forms have their messages elsewhere.
            place = f"messages[{index}]" if isinstance(asked.writer, ChatWriter) else "messages"
            raise _refused(token, f"a {message.role} message", place)
    if (token := _found(_tool_texts(conv), template)) is not None:
        raise _refused(token, "a tool", "tools")


def _found(texts: Iterator[str], template: ChatTemplate) -> str | None:
    return next((token for text in texts for token in template.turn_tokens if token in text), None)


def _texts(message: Message) -> Iterator[str]:
    """All that a template may write of a message; arguments as they are given, and as the object that they are."""
    yield from (text for text in (message.text, message.name, message.tool_call_id) if text)
    for call in message.tool_calls or ():
        yield from (call.id, call.function.name, call.function.arguments)
        yield from _unescaped(call.function.arguments)


def _unescaped(arguments: str) -> Iterator[str]:
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        yield msgspec.json.encode(msgspec.json.decode(arguments)).decode()


def _tool_texts(conv: Conversation) -> Iterator[str]:
    if conv.tools:
        yield msgspec.json.encode(conv.tools).decode()


def _refused(token: str, where: str, param: str) -> CallError:
    return invalid(
        f"The text of {where} holds {token!r}, which this model reads as a turn's edge; leave it out.", param
    )
