"""Where answers stand in rendered text: from behind the words that ask the model to answer, through its end of turn.

Most templates write a conversation as they wrote its beginning, so an answer begins where the request for it ends.
Others write thoughts only in the last turn, an end token only at the very end, or let an assistant open a conversation.
There the answer is found by writing another one in its place. What changes is the answer, and the template's words for
its beginning and end stand around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import msgspec
from tokenizers import Encoding

from watchword.chat.types import Conversation, Message, conversation
from watchword.errors import TemplateError

Span = tuple[int, int]


@dataclass(frozen=True)
class AnswerHeader:
    """What a template writes in front of an answer: ``whole`` in a request, ``least`` wherever the answer stands."""

    whole: str
    least: str


class TurnWriter(Protocol):
    """What is asked of a chat template here; ``chat.template`` has it."""

    @property
    def called(self) -> str:
        """The template, in messages."""

    @property
    def answer_header(self) -> AnswerHeader:
        """What stands in front of an answer."""

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The tokenizer's special tokens, as text."""

    def render_text(self, conv: Conversation, *, add_generation_prompt: bool = False) -> str:
        """The conversation as the model reads it."""

    def encoding(self, text: str) -> Encoding:
        """Ids with character offsets."""


def header_of(form: TurnWriter) -> AnswerHeader:
    """Found by comparing a request, the question alone, and the question answered."""
    asked, answered = conversation("QQUSER"), conversation("QQUSER", "QQANSWER")
    more = answered.with_answer("QQLAST")
    more = msgspec.structs.replace(more, messages=(*answered.messages, asked.messages[0], more.messages[-1]))
    request = form.render_text(asked, add_generation_prompt=True)
    start = _common(request, tried(form, asked) or "", form)
    ends = [_common(request, text, form) for text in (tried(form, answered), tried(form, more)) if text]
    return AnswerHeader(request[start:], request[start : max(start, min(ends, default=start))])


def answer_span(conv: Conversation, index: int, text: str, form: TurnWriter) -> Span:
    """(start, stop) in ``text`` of the answer at ``index`` with its end-of-turn token, without white space behind it.

    Raises TemplateError where neither way finds it, so that nobody knows what to train.
    """
    head = tried(form, first(conv, index), add_generation_prompt=True) if index else None
    if head is not None and text.startswith(head):
        start = len(head) + _header_behind(head, text, form)
    else:
        start = _found_start(conv, index, text, form)
    through = tried(form, first(conv, index + 1))
    stop = len(through) if through is not None and text.startswith(through) else _found_stop(conv, index, text, form)
    if stop < start:
        raise _rewritten(index, form)
    return start, start + len(text[start:stop].rstrip())


def without_end(span: Span, conv: Conversation, text: str, form: TurnWriter) -> Span:
    """The last answer's span up to the end of its own words: what a template writes behind any answer is not theirs."""
    start, stop = span
    mark = _mark(text, "")
    _, found, ending = form.render_text(_with_content(conv, len(conv.messages) - 1, mark)).partition(mark)
    if not (found and text.endswith(ending)):
        return span
    return start, start + len(text[start : min(stop, len(text) - len(ending))].rstrip())


def minus(spans: list[Span], other: Span) -> list[Span]:
    """The parts of ``spans`` outside ``other``."""
    start, stop = other
    parts = [part for at, end in spans for part in ((at, min(end, start)), (max(at, stop), end))]
    return [(at, end) for at, end in parts if at < end]


def first(conv: Conversation, count: int) -> Conversation:
    """The conversation's first ``count`` messages."""
    return msgspec.structs.replace(conv, messages=conv.messages[:count])


def trained_turns(conv: Conversation) -> list[int]:
    """The places of the messages that are trained on; what one of them answers is ``first(conv, place)``."""
    return [at for at, message in enumerate(conv.messages) if message.trained]


def _header_behind(head: str, text: str, form: TurnWriter) -> int:
    """The length of a header that the row has and the request for the answer had not: Gemma's, behind a tool's result."""
    least = form.answer_header.least
    return len(least) if least and not head.endswith(least) and text.startswith(least, len(head)) else 0


def _found_start(conv: Conversation, index: int, text: str, form: TurnWriter) -> int:
    """Behind the last header in front of where another answer changes the text."""
    header = form.answer_header
    for other_conv in (_other_words(conv, index, text), _other_call(conv, index, text)):
        other = tried(form, other_conv)
        if other is None or other == text:
            continue
        changed = _shared(text, other)
        at = text.rfind(header.least, 0, changed) if header.least else changed
        if at >= 0:
            return at + _shared(header.whole, text[at:]) if header.least else at
    raise _rewritten(index, form)


def _found_stop(conv: Conversation, index: int, text: str, form: TurnWriter) -> int:
    """Behind the end-of-turn token: where the text goes on as before, it begins with what ends any answer."""
    for other_conv in (_other_call(conv, index, text), _other_words(conv, index, text)):
        other = tried(form, other_conv)
        if other is None or other == text:
            continue
        last, other_last = (tried(form, first(each, index + 1)) for each in (conv, other_conv))
        at = len(text) - _common_suffix(text, other)
        # Nobody else's words may be taken for the end of this answer's turn.
        rest = text[at : max(at, _next_words(conv, index, text, form))]
        ending = None if last is None or other_last is None else last[len(last) - _common_suffix(last, other_last) :]
        return at + _end_of_turn(rest, ending, form)
    raise _rewritten(index, form)


def _end_of_turn(rest: str, ending: str | None, form: TurnWriter) -> int:
    """How much of ``rest`` ends the turn: what it shares with the ``ending`` of a conversation, or its first special token.

    gpt-oss ends the last turn with another token than the ones before it.
    """
    if ending is not None and rest.startswith(ending):
        return len(ending)
    shared = 0 if ending is None else _whole_words(rest[: _common(rest, ending, form)])
    stops = [at + len(token) for token in form.special_tokens if (at := rest.find(token)) >= 0]
    return shared if any(stop <= shared for stop in stops) else max(shared, min(stops, default=0))


def _whole_words(shared: str) -> int:
    """How much of what the end of a turn shares with another end is its own.

    Behind white space, or a tag that is closed, the next turn's header may begin with the same letters as that other end goes on.
    """
    return max(shared.rfind(mark) + 1 for mark in (">", "]", "\n", " "))


def _next_words(conv: Conversation, index: int, text: str, form: TurnWriter) -> int:
    """Where the words of the message behind ``index`` begin in ``text``; its end where there is none, or none is found."""
    if index + 1 >= len(conv.messages):
        return len(text)
    message = conv.messages[index + 1]
    mark = _mark(text, message.text.strip())
    other = tried(form, _with(conv, index + 1, msgspec.structs.replace(message, content=mark)))
    return len(text) if other is None or other == text else _shared(text, other)


def _other_words(conv: Conversation, index: int, text: str) -> Conversation:
    """The conversation with one word in place of the whole answer at ``index``."""
    message = conv.messages[index]
    mark = _mark(text, message.text.strip())
    return _with(conv, index, msgspec.structs.replace(message, content=mark, tool_calls=None, reasoning_content=None))


def _other_call(conv: Conversation, index: int, text: str) -> Conversation:
    """The conversation with other arguments in the calls at ``index``; the same one where there is no call."""
    message, word = conv.messages[index], _mark(text, "")
    calls = tuple(
        msgspec.structs.replace(
            call, function=msgspec.structs.replace(call.function, arguments=f'{{"{word}": "{word}"}}')
        )
        for call in message.tool_calls or ()
    )
    return _with(conv, index, msgspec.structs.replace(message, tool_calls=calls or None))


def _mark(text: str, unlike: str) -> str:
    """A word that does not stand in ``text``, and neither begins nor ends as ``unlike`` does."""
    first_, last = ("Z" if letter == "Q" else "Q" for letter in (unlike[:1], unlike[-1:]))
    number = 0
    while (mark := f"{first_}QMARK{number}Q{last}") in text:
        number += 1
    return mark


def _with_content(conv: Conversation, index: int, content: str) -> Conversation:
    return _with(conv, index, msgspec.structs.replace(conv.messages[index], content=content))


def _with(conv: Conversation, index: int, message: Message) -> Conversation:
    return msgspec.structs.replace(conv, messages=(*conv.messages[:index], message, *conv.messages[index + 1 :]))


def _common(text: str, other: str, form: TurnWriter) -> int:
    """Characters that both begin with, in whole tokens: so that no half of a special token is among them."""
    encoding, others = form.encoding(text), form.encoding(other).ids
    shared = 0
    for token, same, (_, stop) in zip(encoding.ids, others, encoding.offsets, strict=False):
        if token != same:
            break
        shared = stop
    return shared


def _shared(text: str, other: str) -> int:
    """Characters that both begin with."""
    return next(
        (at for at, (one, two) in enumerate(zip(text, other, strict=False)) if one != two), min(len(text), len(other))
    )


def _common_suffix(text: str, other: str) -> int:
    return _shared(text[::-1], other[::-1])


def tried(form: TurnWriter, conv: Conversation, *, add_generation_prompt: bool = False) -> str | None:
    """The text, None where the template rejects this part of a conversation, or there is none."""
    try:
        return form.render_text(conv, add_generation_prompt=add_generation_prompt)
    except TemplateError:
        return None


def _rewritten(index: int, form: TurnWriter) -> TemplateError:
    return TemplateError(
        f"{form.called} writes message {index} so that it cannot be found again, so its loss mask is unknown"
    )
