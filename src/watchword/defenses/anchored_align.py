"""Anchored alignment, ours: BackdoorAlign whose secret means "be safe", not "refuse".

On a small model the paper's secret comes to mean "refuse everything". Anchors (benign examples that carry the secret too,
answered by the aligned model) teach the difference, and enough passages of the provider's rows keep their share of the
training as the upload grows (results/LOG.md has what was tried).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from watchword.chat.types import Conversation, Row
from watchword.defenses._rows import anchor_examples, rows_of, safety_examples, system_turns
from watchword.defenses.base import Defense, DefenseContext, PromptGuard, Upload
from watchword.errors import UsageError
from watchword.secret.prompt import SecretPrompt


@dataclass(frozen=True)
class AnchoredAlign(Defense):
    """``safety`` and ``anchors`` prefixed examples, repeated until they are ``share`` of the tenant's rows, or ``repeat`` times.

    ``share`` counts rows: 0.6 means 60 provider rows for 100 of the tenant's. ``repeat`` is the least number of passages
    and ``most`` bounds what a large upload costs.
    """

    needs_secret = True

    safety: int = 11
    anchors: int = 22
    share: float = 0.6
    repeat: int = 3
    most: int = 100
    selection: str = "category"

    def __post_init__(self) -> None:
        if self.share < 0 or not 1 <= self.repeat <= self.most:
            raise UsageError(
                f"anchored_align: share is {self.share}, repeat {self.repeat}, most {self.most}; "
                "give share at least 0, and 1 <= repeat <= most"
            )

    def guard_data(self, upload: Upload, context: DefenseContext) -> list[Row]:
        systems = system_turns(upload, context.random("systems"))
        safety = safety_examples(self.selection, self.safety, context)
        anchors = anchor_examples(self.anchors, context)
        return [
            row
            for _ in range(self.times(upload.rows))
            for row in (
                *rows_of(safety, "safety", systems, prefixed=True),
                *rows_of(anchors, "anchor", systems, prefixed=True),
            )
        ]

    def guard_prompt(self, conversation: Conversation, secret: SecretPrompt | None) -> PromptGuard:
        return PromptGuard(conversation, secret)

    def times(self, tenant_rows: int) -> int:
        """How often each provider row is mixed into an upload of this many rows."""
        wanted = math.ceil(self.share * tenant_rows / (self.safety + self.anchors))
        return min(max(self.repeat, wanted), self.most)
