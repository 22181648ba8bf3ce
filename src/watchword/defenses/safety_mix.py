"""The paper's baseline: plain safety examples mixed into the tenant's rows (section 4.1, "Baseline defense")."""

from __future__ import annotations

from dataclasses import dataclass

from watchword.chat.types import Row
from watchword.data.upload import Upload
from watchword.defenses._rows import SAFETY, rows_of, safety_examples, system_turns
from watchword.defenses.base import Defense, DefenseContext


@dataclass(frozen=True)
class SafetyMix(Defense):
    """``safety`` plain examples, chosen by ``selection`` (category, random, generated)."""

    origins = (SAFETY,)

    safety: int = 11
    selection: str = "category"

    @property
    def asks_model(self) -> bool:
        return self.selection == "generated"

    def guard_data(self, upload: Upload, context: DefenseContext) -> list[Row]:
        chosen = safety_examples(self.selection, self.safety, context)
        return rows_of(chosen, SAFETY, system_turns(upload, context.random("systems")), prefixed=False)
