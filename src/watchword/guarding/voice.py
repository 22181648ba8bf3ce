"""The aligned model beside a file that is guarded: it answers in its own words, and for the tenant's own requests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation
from watchword.data.blocks import READ_ONLY
from watchword.data.parse import parse_line
from watchword.data.passes import ScannedBlock
from watchword.defenses.base import Defense, DefenseContext
from watchword.errors import UsageError
from watchword.guarding.interleave import tenant_lines
from watchword.judges.base import refuses
from watchword.models.base import ChatModel
from watchword.progress import Step, no_steps
from watchword.secret.prompt import SecretPrompt


def aligned_model(name: str, defense: Defense, step: Step = no_steps) -> ChatModel:
    """Loads the model that is to be asked. Raises UsageError where the defense asks none, and what ``load`` raises."""
    check_asked(name, defense)
    from watchword.models.load import load

    step("loading the aligned model", 0, 1)
    model = load(name)
    step("loading the aligned model", 1, 1)
    return model


def check_asked(name: str, defense: Defense) -> None:
    """Raises UsageError where a model is named and the defense asks none."""
    if not defense.asks_model:
        raise UsageError(
            f"`aligned` names {name}, and {type(defense).__name__} asks no model; leave `aligned` out", param="aligned"
        )


def context_of(
    aligned: ChatModel | None,
    template: ChatTemplate,
    secret: SecretPrompt | None,
    max_length: int | None,
    seed: int,
    step: Step = no_steps,
) -> DefenseContext:
    """What a defense may use for rows of this format and length (tokens; None: any)."""
    if aligned is None:
        return DefenseContext(seed)
    longest = max_length or sys.maxsize
    return DefenseContext.beside(
        aligned, refuses, secret=secret, max_length=longest, seed=seed, step=step, template=template
    )


def rows_at(path: Path, scanned: Sequence[ScannedBlock], places: Sequence[int], label: str) -> Iterator[Conversation]:
    """The rows at these ascending places (from 0); reads only the blocks that hold them."""
    before, at = 0, 0
    descriptor = os.open(path, READ_ONLY)
    try:
        for part in scanned:
            if at < len(places) and places[at] < before + part.rows:
                lines = tenant_lines(descriptor, part).split(b"\n")
                while at < len(places) and places[at] < before + part.rows:
                    place = places[at]
                    yield parse_line(lines[place - before], place + 1, label)
                    at += 1
            before += part.rows
    finally:
        os.close(descriptor)
