"""Rows that are no chats to imitate: what they are, in one sentence, instead of a complaint about their keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from watchword.chat.fault import Fault

_ONLY = "only supervised chats can be trained on here"
_REWARDS = ("ground_truth", "reward", "rewards", "reward_model", "reference_answer", "verification_info")
MEDIA = ("images", "image", "videos", "video", "audios", "audio", "image_path")
MEDIA_PARTS = ("image", "image_url", "input_image", "video", "video_url", "audio", "audio_url", "input_audio")
_Kind = tuple[Callable[[dict[str, Any]], bool], str, str]


def unsupported(obj: dict[str, Any]) -> Fault | None:
    """The fault of a row that is made for another kind of training, whatever chats stand beside that; else None."""
    return _first(obj, _CLAIMED)


def unsupported_alone(obj: dict[str, Any]) -> Fault | None:
    """The same for a row that no format claims."""
    return _first(obj, (*_CLAIMED, *_ALONE))


def _first(obj: dict[str, Any], kinds: tuple[_Kind, ...]) -> Fault | None:
    found = next(((what, fix) for fits, what, fix in kinds if fits(obj)), None)
    return None if found is None else Fault(f"{found[0]}, which is not supported", found[1], layout=True)


def _preference(obj: dict[str, Any]) -> bool:
    pairs = (("chosen", "rejected"), ("preferred_output", "non_preferred_output"))
    return any(good in obj and bad in obj for good, bad in pairs)


def _rated(obj: dict[str, Any]) -> bool:
    return "completion" in obj and isinstance(obj.get("label"), bool)


def _media(obj: dict[str, Any]) -> bool:
    return any(obj.get(key) for key in MEDIA)


def _rewarded(obj: dict[str, Any]) -> bool:
    return any(key in obj for key in _REWARDS) and not _answered(obj)


def _answered(obj: dict[str, Any]) -> bool:
    """Whether the row has an answer to imitate."""
    turns = next((obj[key] for key in ("messages", "conversations") if isinstance(obj.get(key), list)), None)
    if not turns:
        return any(key in obj for key in ("completion", "output", "response"))
    last = turns[-1]
    return not isinstance(last, dict) or last.get("role", last.get("from")) not in ("user", "human", "system")


def _tokens(obj: dict[str, Any]) -> bool:
    return "input_ids" in obj


def _transcript(obj: dict[str, Any]) -> bool:
    return isinstance(obj.get("chat"), str)


def _text(obj: dict[str, Any]) -> bool:
    return isinstance(obj.get("text"), str)


def _prompt(obj: dict[str, Any]) -> bool:
    return "prompt" in obj


_REINFORCEMENT = (
    "the row is for reinforcement learning (a prompt without an answer to imitate)",
    f"{_ONLY}: give the answer that is to be learned",
)
_CLAIMED: tuple[_Kind, ...] = (
    (_preference, "the row is a preference pair (a better and a worse answer)", f"{_ONLY}: keep the better answer"),
    (_rated, "the row is a rated answer (label true or false)", f"{_ONLY}: keep the good answers, and no label"),
    (_media, "the row has images, video or sound", f"{_ONLY}, and as text"),
    (_rewarded, *_REINFORCEMENT),
)
_ALONE: tuple[_Kind, ...] = (
    (_prompt, *_REINFORCEMENT),
    (_tokens, "the row is tokenized already (input_ids)", "send the chats themselves: provider rows are text, too"),
    (_transcript, "the row is a transcript in one text (chat)", "write each turn by itself, as messages"),
    (
        _text,
        "the row is running text, or a chat rendered by a template (text)",
        "write each turn by itself, as messages",
    ),
)
