"""Will this row be cut? Answered from its bytes where that is enough, and by counting tokens where it is not."""

from __future__ import annotations

import functools
import json
from typing import Any

from watchword.chat.render import training_text
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, Message
from watchword.data.parse import parse_line
from watchword.errors import DataError, TemplateError

# One turn in JSON, {"role": "user", "content": ""}, has at least this many bytes beside its text.
_JSON_TURN_BYTES = 26


class LengthLimit:
    """``max_length`` tokens in one model's format.

    A tokenizer writes at most one token for each byte of the text that its normaliser leaves. A row's JSON has at least
    as many bytes as its text. So a row of at most ``safe_bytes`` bytes fits and needs no count.
    """

    def __init__(self, max_length: int, template: ChatTemplate) -> None:
        self.max_length, self.template = max_length, template

    @functools.cached_property
    def safe_bytes(self) -> int:
        """Bytes of JSON up to which a row surely fits."""
        growth = _growth(self.template.tokenizer.normalizer)
        if growth is None or self._turn_tokens() > _JSON_TURN_BYTES:
            return 0
        return max(0, (self.max_length - self._frame_tokens()) // growth)

    def tokens(self, raw: bytes) -> int | None:
        """Tokens of a row's JSON, exactly; None if it is no valid row, or none that the template takes."""
        try:
            return count_tokens(parse_line(raw, 1), self.template)
        except (DataError, TemplateError):
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
        return count_tokens(conv, self.template)


def count_tokens(conv: Conversation, template: ChatTemplate) -> int:
    """Tokens of a whole training row, as ``render`` makes them; without its look for what is trained, in half the time."""
    return len(template.encode(training_text(conv, template)))


def _growth(normalizer: Any) -> int | None:
    """How many times longer (bytes) a normaliser makes a text at most; None where that is not known."""
    growth = 1
    for step in _steps(None if normalizer is None else json.loads(normalizer.__getstate__())):
        if step["type"] == "NFC":
            growth *= 3  # UTF-8, Unicode Standard Annex 15
        elif step["type"] == "Replace" and len(step["content"].encode()) <= 3:
            growth *= 3  # a space, one byte, becomes the lower one-eighth block, three bytes
        elif step["type"] != "Prepend":
            return None
    return growth


def _steps(normalizer: Any) -> list[Any]:
    if normalizer is None:
        return []
    if normalizer["type"] != "Sequence":
        return [normalizer]
    return [step for inner in normalizer["normalizers"] for step in _steps(inner)]


def _empty_turns(count: int) -> Conversation:
    roles = ("user", "assistant")
    return Conversation(messages=tuple(Message(role=roles[at % 2], content="x") for at in range(count)))
