"""One base model in memory with many LoRA adapters over it: each row of a batch is computed with its own."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peft import PeftModel

from watchword.errors import ModelUnavailableError
from watchword.models.checks import check_adapter
from watchword.models.load import quiet
from watchword.models.loaded import LoadedModel

# PEFT's name for rows that no adapter touches.
_NO_ADAPTER = "__base__"


@dataclass
class AdaptedModel:
    """A base model and the adapters that stand over it. Not for several threads at once.

    Adapters are not merged: a merge in bfloat16 would have to be undone for the next one, and leaves its rounding behind.
    On a processor an answer takes a fifth to a third more time for it (perf/engine.py).
    """

    base: LoadedModel
    _peft: Any = None
    _slots: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _active: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The adapters that are loaded, oldest first."""
        return tuple(self._slots)

    def add(self, name: str, folder: Path) -> None:
        """Loads the adapter in ``folder`` under a name that is not taken. Raises ModelUnavailableError where it does not fit."""
        check_adapter(folder, name)
        slot = f"slot{next(self._numbers)}"
        try:
            with quiet():
                if self._peft is None:
                    self._peft = PeftModel.from_pretrained(self.base.model, str(folder), adapter_name=slot).eval()
                else:
                    self._peft.load_adapter(str(folder), adapter_name=slot)
                    self._peft.eval()
        except Exception as error:  # boundary: PEFT raises anything for files that it dislikes
            reason = " ".join(str(error).split())[:300]
            raise ModelUnavailableError(f"the adapter {folder} does not fit the model: {reason}") from error
        self._slots[name] = slot
        # PEFT makes the first adapter active, and leaves the active one alone with later ones.
        self._active = self._slots[name] if len(self._slots) == 1 else self._active

    def remove(self, name: str) -> None:
        """Frees an adapter that is loaded."""
        slot = self._slots.pop(name)
        if not self._slots:
            self.base.model, self._peft, self._active = self._peft.unload(), None, None
            return
        self._activate(next(iter(self._slots.values())))
        self._peft.delete_adapter(slot)

    @contextlib.contextmanager
    def rows_of(self, names: Sequence[str | None]) -> Iterator[tuple[Any, dict[str, Any]]]:
        """The model to call for a batch whose row i belongs to ``names[i]`` (None is the base), and arguments for the call."""
        if self._peft is None:
            yield self.base.model, {}
        elif len(kinds := set(names)) > 1:
            slots = [_NO_ADAPTER if name is None else self._slots[name] for name in names]
            yield self._peft, {"adapter_names": slots}
        elif (name := kinds.pop()) is None:
            with self._peft.disable_adapter():
                yield self._peft, {}
        else:
            self._activate(self._slots[name])
            yield self._peft, {}

    def _activate(self, slot: str) -> None:
        # It walks through all layers, so not for every token.
        if slot != self._active:
            self._peft.set_adapter(slot)
            self._active = slot
