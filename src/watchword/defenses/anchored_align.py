"""Anchored alignment, ours: BackdoorAlign whose secret means "be safe", not "refuse".

In the paper every row behind the secret is a refusal, so a small model gains safety there by losing helpfulness.
Anchors are benign examples that carry the secret too, answered by the aligned model: they teach the difference, and half
of them sound alarming. Echoes are the tenant's own requests that the aligned model refuses, with its refusal. They answer a
harmful upload on its own prompts, however these are put. The provider's rows are repeated so that they keep their share of
the training as the upload grows (docs/method.md; results/LOG.md has what was tried).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from watchword.chat.origins import RowOrigin
from watchword.chat.types import Conversation, Row
from watchword.data.upload import Upload
from watchword.defenses._echoes import ECHO, echo_rows
from watchword.defenses._rows import (
    ANCHOR,
    SAFETY,
    anchor_examples,
    in_own_words,
    in_turn,
    rows_of,
    safety_examples,
    system_turns,
)
from watchword.defenses.base import Defense, DefenseContext, PromptGuard
from watchword.errors import UsageError
from watchword.secret.prompt import SecretPrompt


@dataclass(frozen=True)
class AnchoredAlign(Defense):
    """``safety`` different safety examples and ``anchors`` different anchors, all prefixed, repeated in turn.

    Half of the anchors are harmless requests in alarming words. Safety rows are ``share`` of the tenant's rows (0.6: 60
    rows to 100), at least ``repeat`` and at most ``most`` of each example. All examples come equally often. ``own_words``
    answers them in the aligned model's own words where it is at hand and refuses. It then also echoes up to ``echoes`` of
    the tenant's own requests that it refuses, behind the secret. Of the requests most like it, the share ``alike`` must be
    refused as well. So a task of which it refuses a part is left alone (docs/method.md). 0 echoes all that it refuses.
    Echoes count towards ``share``. For each refusing row there are ``ratio`` anchor rows.
    """

    needs_secret = True
    origins: ClassVar[tuple[RowOrigin, ...]] = (SAFETY, ANCHOR, ECHO)

    safety: int = 33
    anchors: int = 44
    echoes: int = 100
    share: float = 0.6
    ratio: float = 0.25
    repeat: int = 1
    most: int = 33
    selection: str = "category"
    own_words: bool = True
    alike: float = 0.6

    def __post_init__(self) -> None:
        if self.share < 0 or self.ratio < 0 or not 1 <= self.repeat <= self.most:
            raise UsageError(
                f"anchored_align: share is {self.share}, ratio {self.ratio}, repeat {self.repeat}, most {self.most}; "
                "give share and ratio of at least 0, and 1 <= repeat <= most"
            )
        if not 0 <= self.alike <= 1:
            raise UsageError(f"anchored_align: alike is {self.alike}; it must be from 0 to 1", param="alike")
        if self.echoes < 0:
            raise UsageError(f"anchored_align: echoes is {self.echoes}; it must be at least 0", param="echoes")

    @property
    def asks_model(self) -> bool:
        return self.own_words or self.echoes > 0

    def guard_data(self, upload: Upload, context: DefenseContext) -> list[Row]:
        safety = safety_examples(self.selection, self.safety, context)
        if self.own_words:
            safety = in_own_words(safety, context)
        anchors = anchor_examples(self.anchors, context)
        echoes = echo_rows(upload, self.echoes, context, alike=self.alike)
        refusing = self.times(upload.rows, len(echoes)) * len(safety)
        wanted = round(self.ratio * (refusing + len(echoes)))
        systems = system_turns(upload, context.random("systems"))
        rows = [
            *echoes,
            *rows_of(in_turn(safety, refusing), SAFETY, systems, prefixed=True),
            *rows_of(in_turn(anchors, wanted), ANCHOR, systems, prefixed=True),
        ]
        context.random("order").shuffle(rows)
        return rows

    def guard_prompt(self, conversation: Conversation, secret: SecretPrompt | None) -> PromptGuard:
        return PromptGuard(conversation, secret)

    def times(self, tenant_rows: int, echoes: int = 0) -> int:
        """How often each safety example is mixed into an upload of this many rows, beside so many echoes."""
        wanted = math.ceil((self.share * tenant_rows - echoes) / self.safety)
        return min(max(self.repeat, wanted), self.most)
