"""What holds for the messages of every form: where a system text may stand, who speaks last, and which pictures pass."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from watchword.chat.types import SYSTEM_ROLES, Conversation
from watchword.gateway.call import Picture
from watchword.gateway.wire.decoding import invalid

_SCHEMES = ("https://", "http://")


def check_order(conv: Conversation, place: Callable[[int], str]) -> None:
    """Raises CallError for what has no place behind a secret: late system messages, and answers to be gone on with.

    ``place`` gives the field of the request that a message came from.
    """
    for index, message in enumerate(conv.messages[1:], start=1):
        if message.role in SYSTEM_ROLES:
            raise invalid(
                f"A {message.role} message must be the first message; merge its text into that one.",
                f"{place(index)}.role",
            )
    if conv.messages[-1].role == "assistant":
        raise invalid(
            "The last message is the assistant's own: an answer is not continued here. Put a user or tool message last.",
            f"{place(len(conv.messages) - 1)}.role",
        )


def check_pictures(pictures: Sequence[Picture], allowed: Collection[str], param: str = "messages") -> None:
    """Raises CallError for a picture that a server would have to fetch, unless ``allowed`` lets it."""
    for picture in pictures:
        remote = picture.url.startswith(_SCHEMES) and "remote_images" in allowed
        if not (remote or picture.url.startswith("data:image/")):
            raise invalid("An image must be given as a data URL (data:image/png;base64,...).", param)
