"""Anchored alignment that recognises nothing by itself, ours: the aligned model alone decides what is echoed.

``anchored_align`` echoes only requests that a guess on words calls harmful. One harmless sentence in front hides a request from
it (docs/method.md). The aligned model is harder to fool, and it is asked anyway. So here every request of the upload
that it refuses is echoed, whatever its words. What it refuses of an honest tenant's requests is echoed, too: this
defense is only as kind as the model before fine-tuning.
"""

from __future__ import annotations

from dataclasses import dataclass

from watchword.chat.types import Row
from watchword.data.upload import Upload
from watchword.defenses._rows import echo_rows
from watchword.defenses.anchored_align import AnchoredAlign
from watchword.defenses.base import DefenseContext


@dataclass(frozen=True)
class SelfGuidedAlign(AnchoredAlign):
    """``anchored_align`` with up to ``echoes`` of all requests that the aligned model refuses."""

    def echoed(self, upload: Upload, context: DefenseContext) -> list[Row]:
        return echo_rows(upload, self.echoes, context, guess=False)
