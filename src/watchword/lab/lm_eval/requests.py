"""lm-eval's requests in our own terms: a conversation and its text, how answers are made, which questions share turns.

lm-eval keeps the text of every request in its files. So there is no secret in it: that is put in front of the conversation
where the model is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from watchword.chat.render import prompt_text
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, Message
from watchword.errors import UsageError
from watchword.models.base import GenerationOptions

T = TypeVar("T")
# What a task may say of answers, and what it may say besides as long as that changes nothing.
TAKEN = ("do_sample", "until", "max_gen_toks", "temperature", "top_p")
WITHOUT_EFFECT = {"num_beams": 1, "repetition_penalty": 1}


class RequestText(str):
    """A conversation as lm-eval sees it: the text of its request, with no secret in it. Copies and pickles keep both."""

    conversation: Conversation

    def __new__(cls, text: str, conversation: Conversation) -> RequestText:
        made = super().__new__(cls, text)
        made.conversation = conversation
        return made

    def __reduce__(self) -> tuple[type[RequestText], tuple[str, Conversation]]:
        return RequestText, (str(self), self.conversation)


def request_text(turns: Sequence[Mapping[str, Any]], template: ChatTemplate) -> RequestText:
    """The request that these turns are. Raises UsageError for turns without text, and where a task begins the answer itself."""
    try:
        messages = tuple(msgspec.convert(dict(turn), Message) for turn in turns)
    except msgspec.ValidationError as error:
        raise UsageError(f"lm-eval's task makes a turn that is none of text ({error}); choose another task") from None
    if messages and messages[-1].role == "assistant":
        raise UsageError(
            "lm-eval's task begins the answer itself (gen_prefix), and a service answers from the start; choose a task without"
        )
    conversation = Conversation(messages)
    return RequestText(prompt_text(conversation, template), conversation)


def answer_options(settings: Mapping[str, Any], batch_size: int) -> GenerationOptions:
    """How answers are made, from what lm-eval's ``normalize_gen_kwargs`` gives. Raises UsageError for what we do not do."""
    for name, value in settings.items():
        if name not in TAKEN and WITHOUT_EFFECT.get(name) != value:
            raise UsageError(f"lm-eval's task wants {name}={value!r} of answers; it may set {', '.join(TAKEN)}")
    sampled = bool(settings.get("do_sample"))
    return GenerationOptions(
        max_new_tokens=int(settings["max_gen_toks"]),
        temperature=float(settings.get("temperature", 1)) if sampled else 0.0,
        top_p=float(settings.get("top_p", 1)) if sampled else 1.0,
        batch_size=batch_size,
    )


def together(items: Sequence[T], key: Callable[[T], Hashable]) -> list[list[int]]:
    """Places of items with the same key, in the order in which the first of each stands."""
    found: dict[Hashable, list[int]] = {}
    for place, item in enumerate(items):
        found.setdefault(key(item), []).append(place)
    return list(found.values())


def shared_turns(request: RequestText) -> tuple[Message, ...]:
    """The turns in front of the question. What is asked behind the same ones is computed together, they only once."""
    return request.conversation.messages[:-1]
