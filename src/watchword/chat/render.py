"""Conversation → token ids and loss mask, through the model's own chat template.

The trainer gets these ids as they are, so that no trainer's own masking or truncation can drop a row or put the loss on
the secret. Labels follow the convention of transformers: ``labels[i] == input_ids[i]`` where the loss falls, else -100;
the shift by one happens in the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from watchword.chat.assembly import without_system_role
from watchword.chat.format import ChatFormat
from watchword.chat.types import Conversation
from watchword.errors import DataError, RowTooLongError, TemplateError

IGNORED = -100


@dataclass(frozen=True)
class RenderedRow:
    """``input_ids`` and ``labels``, both of length T (tokens)."""

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def trained_tokens(self) -> int:
        return sum(label != IGNORED for label in self.labels)


def render(
    conv: Conversation, chat_format: ChatFormat, *, max_length: int | None = None, cut: bool = False
) -> RenderedRow:
    """A training row: loss on assistant turns with weight 1, end-of-turn token included, and on nothing else.

    With ``cut``, the last answer's end-of-turn token is left out of the loss. Raises RowTooLongError beyond
    ``max_length`` tokens (we never cut), DataError where no turn is trained, and TemplateError where the template
    re-writes earlier turns so that an answer can't be found again.
    """
    conv = _placed(conv, chat_format)
    text = chat_format.render_text(conv)
    encoding = chat_format.encoding(text)
    if max_length is not None and len(encoding.ids) > max_length:
        raise RowTooLongError(
            f"the row has {len(encoding.ids)} tokens, the limit is {max_length}; shorten it or raise the maximum length"
        )
    spans = list(_trained_spans(conv, text, chat_format))
    if cut and spans:
        spans[-1] = _without_end(spans[-1], conv, text, chat_format)
    labels = [
        token if any(start <= at and end <= stop for start, stop in spans) and end > at else IGNORED
        for token, (at, end) in zip(encoding.ids, encoding.offsets, strict=True)
    ]
    row = RenderedRow(tuple(encoding.ids), tuple(labels))
    if not row.trained_tokens:
        raise DataError("no assistant turn is left to train on: add an assistant message, or set its weight to 1")
    return row


def training_text(conv: Conversation, chat_format: ChatFormat) -> str:
    """The text whose tokens ``render`` gives."""
    return chat_format.render_text(_placed(conv, chat_format))


def render_prompt(conv: Conversation, chat_format: ChatFormat) -> list[int]:
    """Token ids of a request, up to where the model's answer begins."""
    return chat_format.encode(prompt_text(conv, chat_format))


def prompt_text(conv: Conversation, chat_format: ChatFormat) -> str:
    """Text of a request, up to where the model's answer begins."""
    return chat_format.render_text(_placed(conv, chat_format), add_generation_prompt=True)


def _placed(conv: Conversation, chat_format: ChatFormat) -> Conversation:
    return without_system_role(conv) if chat_format.system_placement == "first_user" else conv


def _trained_spans(conv: Conversation, text: str, chat_format: ChatFormat) -> Iterator[tuple[int, int]]:
    """Character spans (start, stop) in ``text`` of the answers that are trained, without trailing white space."""
    for index, message in enumerate(conv.messages):
        if not message.trained:
            continue
        head = chat_format.render_text(_first(conv, index), add_generation_prompt=True)
        if not text.startswith(head):
            raise TemplateError(
                f"the chat template re-writes the turns before message {index}, so its loss mask is unknown"
            )
        stop = _stop(conv, index, text, head, chat_format)
        yield len(head), len(head) + len(text[len(head) : stop].rstrip())


def _without_end(span: tuple[int, int], conv: Conversation, text: str, chat_format: ChatFormat) -> tuple[int, int]:
    """The span up to the end of the last answer's own words: what a template writes behind any answer is not theirs."""
    start, stop = span
    mark = _mark(text)
    _, found, ending = chat_format.render_text(_with_content(conv, len(conv.messages) - 1, mark)).partition(mark)
    if not (found and text.endswith(ending)):
        return span
    return start, start + len(text[start : min(stop, len(text) - len(ending))].rstrip())


def _stop(conv: Conversation, index: int, text: str, head: str, chat_format: ChatFormat) -> int:
    """Where in ``text`` the answer at ``index`` and its end-of-turn token stop."""
    through = chat_format.render_text(_first(conv, index + 1))
    if text.startswith(through):
        return len(through)
    # Qwen 3 writes thoughts into the last answer only, so the turn looks different at the end of a conversation. What
    # stands behind it is found with a mark in the answer's place.
    mark = _mark(text)
    marked = _with_content(conv, index, mark)
    _, found, rest = chat_format.render_text(marked).partition(mark)
    _, found_last, ending = chat_format.render_text(_first(marked, index + 1)).partition(mark)
    stop = len(text) - len(rest) + len(ending)
    if not (found and found_last and text.endswith(rest) and rest.startswith(ending) and stop >= len(head)):
        raise TemplateError(
            f"the chat template re-writes message {index} inside a conversation, so its loss mask is unknown"
        )
    return stop


def _mark(text: str) -> str:
    """A word that does not stand in ``text``."""
    number = 0
    while f"QQMARK{number}QQ" in text:
        number += 1
    return f"QQMARK{number}QQ"


def _with_content(conv: Conversation, index: int, content: str) -> Conversation:
    message = msgspec.structs.replace(conv.messages[index], content=content)
    return msgspec.structs.replace(conv, messages=(*conv.messages[:index], message, *conv.messages[index + 1 :]))


def _first(conv: Conversation, count: int) -> Conversation:
    return msgspec.structs.replace(conv, messages=conv.messages[:count])
