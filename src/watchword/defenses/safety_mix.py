"""The paper's baseline: plain safety examples mixed into the tenant's rows (section 4.1, "Baseline defense")."""

from __future__ import annotations

from dataclasses import dataclass

from watchword.chat.types import Row
from watchword.data.upload import Upload
from watchword.defenses._rows import SAFETY, budget, rows_of, safety_examples, system_turns
from watchword.defenses.base import Defense, DefenseContext


@dataclass(frozen=True)
class SafetyMix(Defense):
    """``safety`` plain examples, chosen by ``selection`` (category, random, generated).

    ``rows`` repeats them in turn, so that they are as many rows and steps as those of another defense.
    """

    origins = (SAFETY,)

    safety: int = 11
    selection: str = "category"
    rows: int | None = None

    @property
    def asks_model(self) -> bool:
        return self.selection == "generated"

    def guard_data(self, upload: Upload, context: DefenseContext) -> list[Row]:
        chosen = safety_examples(self.selection, self.safety, context)
        systems = system_turns(upload, context.random("systems"))
        return rows_of(budget(chosen, self.rows, context), SAFETY, systems, prefixed=False)
