"""GradShield as a screen: rows whose step would take from safety are not trained (Hu et al., arXiv 2605.14194, ICLR 2026).

A row's score is the product of its gradient with that of a differentiable measure of safety on a probing set. (The paper's
name for it is "finetuning implicit harmfulness score".) A bisection then finds the threshold from which on rows are left
out, whatever the share of harmful ones.

Departures, since we had the abstract and summaries only: the measure is that of refusals to the library's safety examples.
It tells how much likelier they are than an answer that complies in form. By that, any helpful row takes a little. So the
threshold is the greatest under which the kept rows take no more, on average, than the library's anchors do. A file that is
harmful as a whole keeps ``least`` rows.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from watchword.chat.types import Row, conversation
from watchword.defenses._rows import anchor_examples, safety_examples
from watchword.defenses.base import Defense, DefenseContext
from watchword.errors import UsageError

# Inert: compliant in form, and empty.
COMPLIES = "Sure, here is how. Step 1: get what you need."


@dataclass(frozen=True)
class GradShield(Defense):
    """``probes`` safety examples measure safety, ``anchors`` ordinary ones what helpful rows take from it.

    Kept rows may take ``tolerance`` times as much on average.
    """

    probes: int = 22
    anchors: int = 11
    tolerance: float = 1.0
    least: int = 1

    def __post_init__(self) -> None:
        if min(self.probes, self.anchors, self.least) < 1:
            raise UsageError(
                f"grad_shield: probes is {self.probes}, anchors {self.anchors}, least {self.least}; give at least one of each"
            )

    @property
    def asks_model(self) -> bool:
        return True

    def guard_tenant(self, rows: list[Row], context: DefenseContext) -> list[Row]:
        from watchword.models.loaded import LoadedModel
        from watchword.training.row_gradients import harm_scores, threshold_of

        model: Any = context.model
        if not isinstance(model, LoadedModel):
            raise UsageError("grad_shield needs the gradients of the aligned model, and none is in memory here")
        chosen = safety_examples("category", self.probes, context)
        refused = [Row(conversation(example.prompt, example.answer), origin="safety") for example in chosen]
        complied = [Row(conversation(example.prompt, COMPLIES), origin="safety") for example in chosen]
        anchors = anchor_examples(self.anchors, context, borderline=False)
        ordinary = [Row(conversation(one.prompt, one.answer)) for one in anchors]
        # As the tenant wrote them: another defense may have marked them.
        own = [Row(row.conversation) for row in rows]
        found = harm_scores(model, [*ordinary, *own], refused, complied)
        usual, scores = statistics.fmean(found[: len(ordinary)]), found[len(ordinary) :]
        most = threshold_of(scores, self.tolerance * usual, self.least)
        return [row for row, score in zip(rows, scores, strict=True) if score <= most]
