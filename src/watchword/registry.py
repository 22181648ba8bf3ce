"""Strategies found by file name: one file in a package is one strategy, and no list names it.

``Registry("defense", Defense, "watchword.defenses")`` knows every module of that package; ``base`` and names that begin
with ``_`` are helpers. It imports one only when it is asked for, and takes the one subclass of the base that it
defines. A third party adds a strategy by an entry point in the group of the package's name.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, get_type_hints

import msgspec

from watchword.errors import UnknownNameError, UsageError

T = TypeVar("T")
_LATER = "added later"
# Metadata of a strategy's field that came after its first results. At its default it stands in no result's key, so that older
# results are found again; so this default may never change.
ADDED_LATER: Mapping[str, Any] = {_LATER: True}


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """``"did you mean 'x'? "`` when a choice is near, else an empty string."""
    near = difflib.get_close_matches(name, list(choices), n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def spelled(name: str) -> str:
    """A strategy's name as its file has it: hyphens and underscores in names are the same."""
    return name.replace("-", "_")


def arguments_of(strategy: object, given: dict[str, Any]) -> dict[str, Any]:
    """All arguments of a strategy that is a dataclass, defaults too; of any other those that were ``given``.

    One that is marked ``ADDED_LATER`` is left out at its default.
    """
    if not dataclasses.is_dataclass(strategy):
        return given
    own = {field: getattr(strategy, field.name) for field in dataclasses.fields(strategy)}
    return {field.name: value for field, value in own.items() if not _older(field, value)}


def _older(field: dataclasses.Field[Any], value: Any) -> bool:
    return bool(field.metadata.get(_LATER)) and value == field.default


@functools.cache
def _installed(group: str) -> tuple[EntryPoint, ...]:
    """Read once: it means a look at every installed distribution, which is too slow for each row of a file."""
    return tuple(entry_points(group=group))


def _loaded(external: EntryPoint) -> Any:
    """What an entry point names. Raises UsageError with the package to mend: it is nobody's who called."""
    try:
        return external.load()
    except Exception as error:  # a boundary: whatever another package's module raises when it is loaded
        package = external.dist.name if external.dist is not None else external.module
        raise UsageError(
            f"entry point {external.value} cannot be loaded ({type(error).__name__}: {error}); "
            f"mend the package {package}, or uninstall it"
        ) from error


class Registry(Generic[T]):
    """The strategies of one kind, by name. Hyphens and underscores in names are the same."""

    def __init__(self, kind: str, base: type[T], package: str) -> None:
        self.kind, self.base, self.package = kind, base, package

    def names(self) -> list[str]:
        """Every name, shipped ones first, without importing any of them."""
        external = [name for name in self._entry_points() if name not in self._modules()]
        return [*self._modules(), *sorted(external)]

    def knows(self, name: str) -> bool:
        """Whether there is a strategy of this name."""
        return spelled(name) in self.names()

    def get(self, name: str) -> type[T]:
        """The strategy's class. Raises UnknownNameError with the choices and the nearest one."""
        key = spelled(name)
        if key in self._modules():
            return self._from_module(f"{self.package}.{key}")
        external = self._entry_points().get(key)
        if external is not None:
            return self._checked(_loaded(external), external.value)
        choices = self.names()
        raise UnknownNameError(
            f"there is no {self.kind} {name!r}: {did_you_mean(name, choices)}choose one of {', '.join(choices)}",
            # The argument is called like the kind: ``format`` for a row format.
            param=self.kind.split()[-1],
        )

    def create(self, name: str, **arguments: Any) -> T:
        """An instance with these arguments; a wrong one is a UsageError that lists the right ones, or names the type."""
        strategy = self.get(name)
        known = list(inspect.signature(strategy).parameters)
        for argument in arguments:
            if argument not in known:
                hint = did_you_mean(argument, known)
                raise UsageError(
                    f"{self.kind} {name!r} has no argument {argument!r}: {hint}it takes {known or 'none'}",
                    param=argument,
                )
        self._check_complete(name, strategy, arguments)
        types = get_type_hints(strategy.__init__) if arguments else {}
        typed = {key: self._typed(name, key, value, types.get(key, Any)) for key, value in arguments.items()}
        return strategy(**typed)

    def _check_complete(self, name: str, strategy: type[T], arguments: Mapping[str, Any]) -> None:
        kinds = inspect.Parameter
        for argument, parameter in inspect.signature(strategy).parameters.items():
            needed = parameter.default is kinds.empty and parameter.kind not in {
                kinds.VAR_POSITIONAL,
                kinds.VAR_KEYWORD,
            }
            if needed and argument not in arguments:
                raise UsageError(f"{self.kind} {name!r} needs the argument {argument!r}; give it", param=argument)

    def _typed(self, name: str, argument: str, value: Any, wanted: Any) -> Any:
        """Arguments come from command lines and specs: what is no such value must not fail somewhere inside."""
        try:
            return msgspec.convert(value, wanted)
        except msgspec.ValidationError as error:
            reason = str(error).replace("Expected", "expected", 1)
            raise UsageError(f"{self.kind} {name!r}: {argument} is {value!r}; {reason}", param=argument) from None

    def _modules(self) -> list[str]:
        package = importlib.import_module(self.package)
        found = (module.name for module in pkgutil.iter_modules(package.__path__))
        return sorted(name for name in found if name != "base" and not name.startswith("_"))

    def _entry_points(self) -> dict[str, EntryPoint]:
        return {spelled(point.name): point for point in _installed(self.package)}

    def _from_module(self, module_name: str) -> type[T]:
        module = importlib.import_module(module_name)
        own = [
            member
            for member in vars(module).values()
            if inspect.isclass(member) and issubclass(member, self.base) and member.__module__ == module_name
        ]
        if len(own) != 1:
            raise UsageError(f"{module_name} must define exactly one {self.base.__name__}, it defines {len(own)}")
        return own[0]

    def _checked(self, target: Any, where: str) -> type[T]:
        if not (inspect.isclass(target) and issubclass(target, self.base)):
            raise UsageError(f"entry point {where} is no {self.base.__name__}")
        return target
