"""Which checkpoint of a run to go on from; torch-free, so that whoever looks at a run's folder needs no torch."""

from __future__ import annotations

import json
from pathlib import Path

# As transformers calls it.
TRAINER_STATE_NAME = "trainer_state.json"


def newest_checkpoint(out: Path) -> str | None:
    """The newest checkpoint that was written to its end: its state is written last, so one without it is cut off."""
    whole = [path.parent for path in out.glob(f"checkpoint-*/{TRAINER_STATE_NAME}") if _readable(path)]
    return str(max(whole, key=lambda path: int(path.name.removeprefix("checkpoint-")))) if whole else None


def _readable(state: Path) -> bool:
    try:
        json.loads(state.read_bytes())
    except (OSError, ValueError):
        return False
    return True
