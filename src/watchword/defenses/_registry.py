"""Defenses by name, one or several that act together."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from watchword.errors import UsageError
from watchword.registry import Registry, arguments_of, did_you_mean, spelled

T = TypeVar("T")


class DefenseRegistry(Registry[T]):
    """Defenses by name. ``a + b`` names several that act together (``defenses._composed``)."""

    def knows(self, name: str) -> bool:
        """Whether there are defenses of all these names."""
        return all(super(DefenseRegistry, self).knows(part.strip()) for part in name.split("+"))

    def get(self, name: str) -> type[T]:
        """The class of a defense, or of several together."""
        names = self._parts(name)
        if len(names) == 1:
            return super().get(name)
        found: type[T] = importlib.import_module(f"{self.package}._composed").composed(
            *((part, self.get(part)) for part in names)
        )
        return found

    def create(self, name: str, **arguments: Any) -> T:
        """A defense with these arguments.

        Of several together, an argument goes to the one that takes it. Where more than one does, it is given as
        ``{"a": {"argument": 1}}`` or ``a.argument``.
        """
        names = self._parts(name)
        if len(names) == 1:
            return super().create(name, **arguments)
        own = self._shared_out(names, arguments)
        parts = {part: super(DefenseRegistry, self).create(part, **own[part]) for part in names}
        return self.get(name)(**{part: arguments_of(parts[part], own[part]) for part in names})

    def _parts(self, name: str) -> list[str]:
        names = [spelled(part.strip()) for part in name.split("+")]
        if len(set(names)) != len(names):
            raise UsageError(f"the defense {name!r} names one twice; name each once", param=self.kind)
        return names

    def _shared_out(self, names: Sequence[str], arguments: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Whose each argument is."""
        known = {part: inspect.signature(self.get(part)).parameters for part in names}
        own: dict[str, dict[str, Any]] = {part: {} for part in names}
        for argument, value in arguments.items():
            part, _, rest = argument.rpartition(".")
            if argument in own and isinstance(value, Mapping):
                own[argument] |= value
                continue
            named = names if not part else [spelled(part)] if spelled(part) in own else []
            takers = [name for name in named if part or rest in known[name]]
            if len(takers) != 1:
                raise _whose(argument, takers, known)
            own[takers[0]][rest] = value
        return own


def _whose(argument: str, takers: Sequence[str], known: Mapping[str, Mapping[str, Any]]) -> UsageError:
    """An argument that none of several defenses takes, or more than one."""
    if takers:
        return UsageError(
            f"{argument!r} is an argument of {' and '.join(takers)}; say {takers[0]}.{argument}", param=argument
        )
    every = sorted({name for taken in known.values() for name in taken})
    hint = did_you_mean(argument, every)
    return UsageError(
        f"none of {', '.join(known)} has an argument {argument!r}: {hint}they take {every}", param=argument
    )
