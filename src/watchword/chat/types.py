"""Conversations as data: frozen, comparable, and the same on every path (files, training, serving, evaluation).

Decoding refuses unknown keys: a key that we dropped silently would be a tenant's data lost.
"""

from __future__ import annotations

from typing import Any

import msgspec

ROLES = ("system", "developer", "user", "assistant", "tool")
SYSTEM_ROLES = ("system", "developer")
# The origin of the tenant's own rows. Every other origin is the provider's, and comes from a defense.
TENANT = "tenant"


class Part(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One piece of a message's content. Only ``type="text"`` is rendered by text models."""

    type: str
    text: str = ""


class FunctionCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``arguments`` is the JSON text that the model wrote, kept to the letter."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    function: FunctionCall
    type: str = "function"


class Message(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One turn. ``weight`` 0 takes an assistant turn out of the loss, as in OpenAI's format; None means 1."""

    role: str
    content: str | tuple[Part, ...] | None = None
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    tool_call_id: str | None = None
    weight: int | None = None
    reasoning_content: str | None = None

    @property
    def text(self) -> str:
        """The content as one string, text parts joined."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "".join(part.text for part in self.content if part.type == "text")

    @property
    def trained(self) -> bool:
        """Whether the loss falls on this turn."""
        return self.role == "assistant" and self.weight != 0


class Conversation(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One training row or one request: messages in order, and the tools on offer (JSON schemas, unread by us)."""

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] | None = None
    parallel_tool_calls: bool | None = None

    @property
    def system(self) -> str | None:
        """The first message's text if that is a system (or developer) message."""
        first = self.messages[0] if self.messages else None
        return first.text if first is not None and first.role in SYSTEM_ROLES else None

    def with_answer(self, text: str) -> Conversation:
        """The same conversation with one more assistant turn."""
        answer = Message(role="assistant", content=text)
        return msgspec.structs.replace(self, messages=(*self.messages, answer))


def last_user_text(conv: Conversation) -> str:
    """Text of the last user turn; empty where there is none."""
    return next((message.text for message in reversed(conv.messages) if message.role == "user"), "")


def conversation(user: str, answer: str | None = None, *, system: str | None = None) -> Conversation:
    """A one-turn conversation, the form of nearly all rows here."""
    messages = [Message(role="system", content=system)] if system is not None else []
    messages.append(Message(role="user", content=user))
    if answer is not None:
        messages.append(Message(role="assistant", content=answer))
    return Conversation(messages=tuple(messages))


class Row(msgspec.Struct, frozen=True):
    """A training row. ``prefixed`` rows get the secret when they are rendered or exported, not before.

    ``origin`` says whose row it is: the tenant's, or one of the provider's kinds by name (``chat.origins.RowOrigin``).
    So a list of rows can be printed, compared and stored, and the secret is in none of it. The last answer of a ``cut`` row
    goes on in truth: the loss falls on its words, not on the end-of-turn token behind them. ``inoculation`` is a sentence of
    the provider's that stands in front of a tenant's row, in training only (``chat.assembly.inoculated``).
    """

    conversation: Conversation
    origin: str = TENANT
    prefixed: bool = False
    cut: bool = False
    inoculation: str = ""

    @property
    def needs_secret(self) -> bool:
        """Whether it cannot be rendered without the run's secret."""
        return self.prefixed or bool(self.inoculation)
