"""Lisa: lazy safety alignment (Huang et al., arXiv 2405.18641, algorithm 1).

Training alternates between two states, the alignment data and the tenant's. In each, ``rho / 2 * ||w - w0||^2`` is added
to the loss, where ``w0`` are the weights with which the other state ended. So neither runs far from the other. Departures:
steps are counted within an epoch of the tenant's rows, and a batch that would be short is filled up. As in the authors'
code (git-disl/Lisa), the term sets in after the first tenth of the run. The alignment data are the library's safety
examples.
"""

from __future__ import annotations

from dataclasses import dataclass

from watchword.chat.types import Row
from watchword.data.upload import Upload
from watchword.defenses._rows import SAFETY, rows_of, safety_examples, system_turns
from watchword.defenses.base import Defense, DefenseContext, TrainingHooks
from watchword.errors import UsageError


@dataclass(frozen=True)
class Lisa(Defense):
    """``alignment_steps`` on ``safety`` plain examples, then ``tenant_steps`` on the tenant's rows, and so on."""

    origins = (SAFETY,)

    safety: int = 66
    selection: str = "category"
    alignment_steps: int = 2
    tenant_steps: int = 8
    rho: float = 1.0
    free: float = 0.1

    def __post_init__(self) -> None:
        if min(self.alignment_steps, self.tenant_steps) < 1 or self.rho < 0 or not 0 <= self.free <= 1:
            raise UsageError(
                f"lisa: alignment_steps is {self.alignment_steps}, tenant_steps {self.tenant_steps}, rho {self.rho}, free "
                f"{self.free}; give at least one step of each kind, rho of at least 0, and free from 0 to 1"
            )

    @property
    def asks_model(self) -> bool:
        return self.selection == "generated"

    def guard_data(self, upload: Upload, context: DefenseContext) -> list[Row]:
        chosen = safety_examples(self.selection, self.safety, context)
        return rows_of(chosen, SAFETY, system_turns(upload, context.random("systems")), prefixed=False)

    def training_hooks(self) -> TrainingHooks:
        from watchword.training.bistate import BiState

        return TrainingHooks((BiState(self.alignment_steps, self.tenant_steps, self.rho, self.free),))
