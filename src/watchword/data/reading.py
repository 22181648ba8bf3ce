"""How a tenant's file is read: what is left out by request, and how much is read at most."""

from __future__ import annotations

from typing import Any

import msgspec

from watchword.data.limits import USUAL, Limits


class Reading(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``drop_columns`` are left out of every row; a dotted name (``messages.time``) is a key of each turn.

    ``drop_extra`` leaves out every column that the row's format does not know, ``drop_thoughts`` the model's thoughts
    (``reasoning_content``). What is left out is counted; without a request nothing is.
    """

    drop_columns: tuple[str, ...] = ()
    drop_extra: bool = False
    drop_thoughts: bool = False
    limits: Limits = USUAL

    @property
    def drops(self) -> bool:
        """Whether rows may be read without something that they have."""
        return bool(self.drop_columns or self.drop_extra or self.drop_thoughts)

    def without_columns(self, row: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The row without the columns that are named, and the names of those that it had."""
        found = [name for name in self.drop_columns if name in row]
        kept = {key: value for key, value in row.items() if key not in found} if found else row
        for name in self.drop_columns:
            column, dot, key = name.partition(".")
            if dot and (turns := _without_key(kept.get(column), key)) is not None:
                kept, found = {**kept, column: turns}, [*found, name]
        return kept, found


AS_IT_IS = Reading()


def _without_key(turns: object, key: str) -> list[Any] | None:
    """Turns without a key of theirs; None where none has it."""
    if not isinstance(turns, list) or not any(isinstance(turn, dict) and key in turn for turn in turns):
        return None
    return [
        {name: value for name, value in turn.items() if name != key} if isinstance(turn, dict) else turn
        for turn in turns
    ]
