"""Which packaged prompts a benchmark asks: those of development, or those that are kept for published figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, cast

from watchword.errors import UsageError
from watchword.registry import did_you_mean
from watchword.safety.library import Split, digest

EVAL, REPORT = "eval", "report"
SPLITS = (EVAL, REPORT)
Kind = Literal["policy", "borderline", "benign"]


def check_split(name: str, split: str) -> None:
    """Raises UsageError for a split that there is not."""
    if split not in SPLITS:
        raise UsageError(
            f"{name}: split is {split!r}: {did_you_mean(split, SPLITS)}choose {EVAL} (for development) or {REPORT} (for "
            "published figures)",
            param="split",
        )


def packaged_split(kind: Kind, split: str) -> Split:
    """The file of these prompts."""
    return cast(Split, f"{kind}_{split}")


def split_digest(kinds: Iterable[Kind], split: str) -> str:
    """What a benchmark's digest is: empty for prompts that the digest of the packaged data covers already."""
    return "" if split == EVAL else digest([packaged_split(kind, split) for kind in kinds])
