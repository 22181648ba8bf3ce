"""Safety-tuned instructions: plain safety examples as a share of the data (Bianchi et al., arXiv 2309.07875, section 3).

The paper mixes 100 to 2,000 safety examples into 20,000 instructions. It finds that about 3 % are enough, and that too many
make a model refuse too much. ``safety_mix`` is the same with a fixed number of them. Departure: the examples are the library's, 506
different ones, and repeated in turn where more are asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from watchword.chat.types import Row
from watchword.data.upload import Upload
from watchword.defenses._rows import SAFETY, in_turn, rows_of, safety_examples, system_turns
from watchword.defenses.base import Defense, DefenseContext
from watchword.errors import UsageError
from watchword.safety.selection import most


@dataclass(frozen=True)
class SafeInstr(Defense):
    """``share`` plain examples for each of the tenant's rows (0.03: three to a hundred), at least ``least`` of them."""

    origins = (SAFETY,)

    share: float = 0.03
    least: int = 3
    selection: str = "category"

    def __post_init__(self) -> None:
        if self.share < 0 or self.least < 1:
            raise UsageError(
                f"safe_instr: share is {self.share}, least {self.least}; give a share of at least 0, and at least one example"
            )

    @property
    def asks_model(self) -> bool:
        return self.selection == "generated"

    def guard_data(self, upload: Upload, context: DefenseContext) -> list[Row]:
        count = max(self.least, math.ceil(self.share * upload.rows))
        chosen = in_turn(safety_examples(self.selection, min(count, most()), context), count)
        return rows_of(chosen, SAFETY, system_turns(upload, context.random("systems")), prefixed=False)
