"""How many tokens a file has: estimated from sampled rows, since this only informs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from watchword.chat.render import RenderedRow, render_row
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Row
from watchword.data.parse import parse_row
from watchword.errors import DataError

# Rows that are rendered for an estimate.
_MOST = 400


@dataclass(frozen=True)
class TokenEstimate:
    """Of a whole file, in tokens; ``trained`` are those that the loss falls on. ``sampled`` rows were counted exactly."""

    total: int
    trained: int
    median: int
    p95: int
    longest: int
    sampled: int


def estimate(samples: Sequence[bytes], size: int, template: ChatTemplate) -> TokenEstimate | None:
    """From rows of JSON, scaled by bytes to a file of ``size`` bytes; None where no sampled row can be rendered."""
    chosen = samples[:: max(1, len(samples) // _MOST)]
    rendered = [(len(raw) + 1, row) for raw in chosen if (row := _rendered(raw, template)) is not None]
    if not rendered:
        return None
    scale = size / sum(length for length, _ in rendered)
    lengths = sorted(len(row.input_ids) for _, row in rendered)
    trained = sum(row.trained_tokens for _, row in rendered)
    p95 = lengths[min(len(lengths) - 1, int(0.95 * len(lengths)))]
    middle = int(statistics.median(lengths))
    return TokenEstimate(round(sum(lengths) * scale), round(trained * scale), middle, p95, lengths[-1], len(lengths))


def _rendered(raw: bytes, template: ChatTemplate) -> RenderedRow | None:
    conv, faults = parse_row(raw, 1, "openai")
    if conv is None or faults:
        return None
    try:
        return render_row(Row(conv), None, template, None)
    except DataError:
        return None
