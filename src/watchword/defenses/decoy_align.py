"""Anchored alignment with decoys, ours: other random prefixes that must not mean what a tenant wants them to mean.

A tenant who knows the method puts random prefixes of its own before harmful rows (``anti_trigger``). The model then learns
to comply behind any random prefix, the secret too. Decoys are copies of the provider's rows behind random prefixes that are
not the secret. There the model is to stay as aligned as it was, so that no random prefix is a way around. A few dozen
corrective rows weaken a backdoor (arXiv 2510.07192). Departures: theirs clean a known trigger; here the tenant's prefixes are
unknown, so every decoy is drawn afresh.
"""

from __future__ import annotations

import random
import string
from dataclasses import dataclass
from typing import ClassVar

from watchword.chat.assembly import assemble
from watchword.chat.origins import RowOrigin
from watchword.chat.template import SystemStyle
from watchword.chat.types import Row
from watchword.data.upload import Upload
from watchword.defenses.anchored_align import AnchoredAlign
from watchword.defenses.base import DefenseContext
from watchword.errors import UsageError
from watchword.models.base import template_at_hand
from watchword.secret.generate import DEFAULT_TOKENS, experiment_secret

DECOY = RowOrigin("decoy", "decoys")


@dataclass(frozen=True)
class DecoyAlign(AnchoredAlign):
    """``anchored_align``, and for ``decoys`` of its rows (0.5: every second) a copy behind a random prefix of ``tokens`` tokens.

    Each copy has a prefix of its own. A copy that would be too long to train on is left out.
    """

    origins: ClassVar[tuple[RowOrigin, ...]] = (*AnchoredAlign.origins, DECOY)

    decoys: float = 0.5
    tokens: int = DEFAULT_TOKENS

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.decoys <= 1 or self.tokens < 1:
            raise UsageError(
                f"decoy_align: decoys is {self.decoys}, tokens {self.tokens}; give a share from 0 to 1, and at least 1 token"
            )

    def guard_data(self, upload: Upload, context: DefenseContext) -> list[Row]:
        rows = super().guard_data(upload, context)
        rng = context.random("decoys")
        copied = rng.sample(rows, round(self.decoys * len(rows)))
        # A decoy may be longer than the run's secret, so that the copy is measured, not its original.
        decoys = [self._behind(row, context, rng) for row in copied if context.fits(row.conversation)]
        mixed = [*rows, *(row for row in decoys if context.trainable(row))]
        context.random("decoy order").shuffle(mixed)
        return mixed

    def _behind(self, row: Row, context: DefenseContext, rng: random.Random) -> Row:
        template = template_at_hand(context.model) if context.model is not None else None
        if template is None:
            # No tokenizer is at hand: letters that no word is made of do the same.
            prefix = " ".join("".join(rng.choices(string.ascii_letters, k=4)) for _ in range(self.tokens // 3 + 1))
            return Row(assemble(row.conversation, prefix, SystemStyle()), DECOY.name, cut=row.cut)
        drawn = experiment_secret(template, tokens=self.tokens, seed=rng.randrange(2**32))
        conv = assemble(row.conversation, drawn.reveal(), template.system_style)
        return Row(conv, DECOY.name, cut=row.cut)
