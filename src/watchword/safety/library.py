"""The packaged example library: one JSON lines file a split, authored for Watchword, CC-BY-4.0.

The first line of each file is its origin note; every other line is one example. Prompts only name a goal in a sentence;
the attack's answers are inert (compliant in form, empty of content). No text stands in two splits.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Literal, get_args

import msgspec

from watchword.errors import DataError
from watchword.files.digest import sha256_bytes

# The paper's harm categories (appendix; after the usage policies of model providers).
CATEGORIES = (
    "illegal_activity",
    "child_abuse",
    "hate_harassment_violence",
    "malware",
    "physical_harm",
    "economic_harm",
    "fraud_deception",
    "adult_content",
    "political_campaigning",
    "privacy_violation",
    "financial_advice",
)
Split = Literal[
    "policy_align",
    "safety_examples",
    "attack",
    "policy_eval",
    "benign_align",
    "anchors",
    "borderline_anchors",
    "benign_eval",
    "borderline_align",
    "borderline_eval",
    "task",
    "policy_report",
    "borderline_report",
    "benign_report",
]
SPLITS: tuple[Split, ...] = get_args(Split)
# Asked for published figures alone. Nothing is trained, chosen or judged by them, so no result of other prompts depends on them.
REPORT_SPLITS: tuple[Split, ...] = ("policy_report", "borderline_report", "benign_report")
WORKING_SPLITS: tuple[Split, ...] = tuple(split for split in SPLITS if split not in REPORT_SPLITS)


class Example(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One prompt; ``category`` is None for benign ones, ``answer`` for those that are only asked.

    ``cut``: the answer is the beginning of a longer one.
    """

    id: str
    prompt: str
    category: str | None = None
    answer: str | None = None
    cut: bool = False


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of a file: who wrote it, under which licence, for what."""

    origin: str
    licence: str
    purpose: str


@functools.cache
def examples(split: Split) -> tuple[Example, ...]:
    """All examples of a split, in the file's order."""
    lines = _bytes(split).splitlines()
    try:
        return tuple(msgspec.json.decode(line, type=Example) for line in lines[1:])
    except msgspec.DecodeError as error:
        raise DataError(f"the packaged file {split}.jsonl is damaged ({error}); install watchword again") from error


@functools.cache
def origin(split: Split) -> Origin:
    """A file's origin note."""
    return msgspec.json.decode(_bytes(split).splitlines()[0], type=Origin)


def digest(splits: Iterable[Split] = WORKING_SPLITS) -> str:
    """SHA-256 in hex over the named files' bytes: a result says with it which prompts it was measured on.

    Those for published figures are left out unless named, and a benchmark that asks them names them.
    """
    return sha256_bytes(b"".join(bytes.fromhex(sha256_bytes(_bytes(split))) for split in splits))


def balanced(rows: Sequence[Example], count: int | None = None) -> list[Example]:
    """The first ``count`` examples when the categories take turns (all of them for None), so that a part stays fair."""
    groups: dict[str | None, list[Example]] = {}
    for row in rows:
        groups.setdefault(row.category, []).append(row)
    turns = itertools.zip_longest(*groups.values())
    ordered = [row for turn in turns for row in turn if row is not None]
    return ordered if count is None else ordered[:count]


def _bytes(split: Split) -> bytes:
    return files("watchword.safety").joinpath("data", f"{split}.jsonl").read_bytes()
