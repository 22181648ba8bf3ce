"""How many tokens a file has: estimated from sampled rows, since this only informs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from watchword.chat.render import RenderedRow, render_row
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation, Row
from watchword.data.parse import parse_row
from watchword.data.reading import AS_IT_IS, Reading
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


def estimate(
    samples: Sequence[bytes], size: int, template: ChatTemplate, *, format: str = "openai", reading: Reading = AS_IT_IS
) -> TokenEstimate | None:
    """From rows of JSON of this format, scaled by bytes to a file of ``size`` bytes; None where no sampled row can be rendered."""
    chosen = samples[:: max(1, len(samples) // _MOST)]
    convs = ((raw, *parse_row(raw, 1, format, reading=reading)) for raw in chosen)
    found = ((raw, _rendered(conv, template)) for raw, conv, faults in convs if conv is not None and not faults)
    rendered = [(len(raw) + 1, row) for raw, row in found if row is not None]
    if not rendered:
        return None
    scale = size / sum(length for length, _ in rendered)
    lengths = sorted(len(row.input_ids) for _, row in rendered)
    trained = sum(row.trained_tokens for _, row in rendered)
    p95 = lengths[min(len(lengths) - 1, int(0.95 * len(lengths)))]
    middle = int(statistics.median(lengths))
    return TokenEstimate(round(sum(lengths) * scale), round(trained * scale), middle, p95, lengths[-1], len(lengths))


def _rendered(conv: Conversation, template: ChatTemplate) -> RenderedRow | None:
    try:
        return render_row(Row(conv), None, template, None)
    except DataError:
        return None
