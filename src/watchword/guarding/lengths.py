"""Will this row be cut? Answered from its bytes where that is enough, and by counting tokens where it is not."""

from __future__ import annotations

import functools

from watchword.chat.format import ChatFormat
from watchword.chat.parse import parse_row
from watchword.chat.render import render
from watchword.chat.types import Conversation, Message
from watchword.errors import TemplateError

# One turn in JSON, {"role": "user", "content": ""}, has at least this many bytes beside its text.
_JSON_TURN_BYTES = 26


class LengthLimit:
    """``max_length`` tokens in one model's format.

    A byte-level tokenizer writes at most one token a byte, and a row's JSON has at least as many bytes as its text; so a
    row of at most ``safe_bytes`` bytes fits and needs no count. Tokenizers that rewrite text first get no such promise:
    there every row is counted.
    """

    def __init__(self, max_length: int, chat_format: ChatFormat) -> None:
        self.max_length, self.chat_format = max_length, chat_format

    @functools.cached_property
    def safe_bytes(self) -> int:
        """Bytes of JSON up to which a row surely fits."""
        if self.chat_format.tokenizer.normalizer is not None or self._turn_tokens() > _JSON_TURN_BYTES:
            return 0
        return max(0, self.max_length - self._frame_tokens())

    def tokens(self, raw: bytes) -> int | None:
        """Tokens of a row's JSON, exactly; None if it is no valid row, or none that the template takes."""
        conv, faults = parse_row(raw, 1, "openai")
        if conv is None or faults:
            return None
        try:
            return count_tokens(conv, self.chat_format)
        except TemplateError:
            return None

    def _turn_tokens(self) -> int:
        """Tokens that the template writes around one more turn."""
        one, three = (_empty_turns(count) for count in (2, 4))
        return (self._count(three) - self._count(one)) // 2

    def _frame_tokens(self) -> int:
        """Tokens around the turns: with a system turn of its own, or with the template's default one."""
        plain = _empty_turns(2)
        system = Message(role="system", content="x")
        return max(self._count(conv) for conv in (plain, Conversation(messages=(system, *plain.messages))))

    def _count(self, conv: Conversation) -> int:
        return count_tokens(conv, self.chat_format)


def count_tokens(conv: Conversation, chat_format: ChatFormat) -> int:
    """Tokens of a whole training row, rendered as in training."""
    return len(render(conv, chat_format).input_ids)


def _empty_turns(count: int) -> Conversation:
    roles = ("user", "assistant")
    return Conversation(messages=tuple(Message(role=roles[at % 2], content="x") for at in range(count)))
