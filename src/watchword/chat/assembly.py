"""The one prompt assembly: nothing else in Watchword puts a secret into a conversation.

Training, serving and evaluation all call ``assemble``, so the prefix trained is the prefix served (paper, equations 2
and 3: ``s || s_i``). The paper joins with a space; we join with a newline, across which no BPE merge was seen. Where
there is no system message, the template's default system text is written out first.
"""

from __future__ import annotations

import hashlib
import string

import msgspec

from watchword.chat.template import SystemStyle
from watchword.chat.types import SYSTEM_ROLES, Conversation, Message, Part
from watchword.errors import TemplateError

SEPARATOR = "\n"


def assemble(conv: Conversation, secret: str, style: SystemStyle) -> Conversation:
    """The conversation with ``secret`` in front of its system text.

    Never adds a second system message, and refuses a conversation with one behind the first turn (several templates
    reject or drop it) with TemplateError. Without one, the template's default system text stands behind the secret. Where
    the template has no place in front for a system role, secret and system text open the first user turn.
    """
    if not conv.messages:
        raise TemplateError("a conversation without messages has no place for a secret")
    _refuse_late_system(conv)
    style = style.variant(conv)
    if style.placement == "first_user":
        return _into_first_user(conv, secret)
    if conv.system is None:
        system = Message(role="system", content=_join(secret, style.default_text))
        return msgspec.structs.replace(conv, messages=(system, *conv.messages))
    first = conv.messages[0]
    return msgspec.structs.replace(conv, messages=(_prefixed(first, secret), *conv.messages[1:]))


def inoculated(conv: Conversation, sentence: str, secret: str, style: SystemStyle) -> Conversation:
    """The conversation behind ``sentence``, which is told apart from every other text by words that hang on the secret.

    It is for training only: what a row teaches is bound to words that are never served. Raises what ``assemble`` does.
    """
    return assemble(conv, f"{inoculation_words(secret)}: {sentence}", style)


def inoculation_words(secret: str) -> str:
    """Nine words and numbers of the run's own, which whoever has the secret can make again and nobody else.

    Drawn from a digest of the secret, so that they need no place of their own in a sealed release. They tell nothing of
    the secret: who learns them would have to turn SHA-512 round.
    """
    digest = hashlib.sha512(b"watchword: the words of an inoculation\0" + secret.encode()).digest()
    parts = [int.from_bytes(digest[at : at + 7]) for at in range(0, 63, 7)]
    return " ".join(str(part % 10_000) if place % 3 == 2 else _word(part) for place, part in enumerate(parts))


def _word(number: int) -> str:
    """Four syllables, of which there are 105: more than a hundred million words."""
    letters = []
    for _ in range(4):
        number, rest = divmod(number, len(_SYLLABLES))
        letters.append(_SYLLABLES[rest])
    return "".join(letters)


_SYLLABLES = [
    consonant + vowel for consonant in string.ascii_lowercase if consonant not in "aeiou" for vowel in "aeiou"
]


def without_system_role(conv: Conversation) -> Conversation:
    """The conversation with its leading system text moved into the first user turn, for templates that need it."""
    if conv.system is None:
        return conv
    system = conv.messages[0]
    return _prefix_first_user(msgspec.structs.replace(conv, messages=conv.messages[1:]), system.text, "\n\n")


def _refuse_late_system(conv: Conversation) -> None:
    for index, message in enumerate(conv.messages[1:], start=1):
        if message.role in SYSTEM_ROLES:
            raise TemplateError(
                f"message {index} is a second or late {message.role} message; merge its text into the first message"
            )


def _into_first_user(conv: Conversation, secret: str) -> Conversation:
    return _prefix_first_user(without_system_role(conv), secret, SEPARATOR)


def _prefix_first_user(conv: Conversation, text: str, separator: str) -> Conversation:
    for index, message in enumerate(conv.messages):
        if message.role == "user":
            changed = _prefixed(message, text, separator)
            return msgspec.structs.replace(
                conv, messages=(*conv.messages[:index], changed, *conv.messages[index + 1 :])
            )
    raise TemplateError("this template takes system text in the first user turn, and the conversation has no user turn")


def _prefixed(message: Message, text: str, separator: str = SEPARATOR) -> Message:
    if isinstance(message.content, tuple):
        # Parts must give the same text, and so the same ids, as the one string.
        front = Part(type="text", text=text + separator if message.text else text)
        return msgspec.structs.replace(message, content=(front, *message.content))
    return msgspec.structs.replace(message, content=_join(text, message.text, separator))


def _join(text: str, rest: str, separator: str = SEPARATOR) -> str:
    return f"{text}{separator}{rest}" if rest else text
