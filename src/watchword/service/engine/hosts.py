"""The base models of an engine, each with what writes its answers and with the adapters that were loaded over it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watchword.errors import CallError, ModelUnavailableError
from watchword.models.catalog import resolve


@dataclass(frozen=True)
class Host:
    """One base model. ``adapted`` and ``decoder`` are touched by the thread that computes, and by no other."""

    adapted: Any
    decoder: Any

    @property
    def model(self) -> Any:
        """The base model, a ``watchword.models.loaded.LoadedModel``."""
        return self.adapted.base


class Hosts:
    """What names mean: base models that are loaded when they are first asked for, and adapters by the name they were given.

    What loads and unloads belongs to the thread that computes.
    """

    def __init__(self, bases: Sequence[str]) -> None:
        self._bases = tuple(bases)
        self._hosts: dict[str, Host] = {}
        self._adapters: dict[str, tuple[str, Path]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that can be asked for."""
        return (*self._bases, *self._adapters)

    def loaded(self, name: str) -> bool:
        """Whether ``of`` has nothing left to load for a name."""
        return self._adapters.get(name, (name,))[0] in self._hosts

    def of(self, name: str) -> tuple[Host, str | None]:
        """Where a name is computed, and by which adapter. Raises CallError for a name that means nothing here."""
        if name in self._adapters:
            return self._host(self._adapters[name][0]), name
        if name in self._bases:
            return self._host(name), None
        raise _no_model(name)

    def load(self, name: str, folder: Path) -> None:
        """Loads an adapter under a name. The same folder again changes nothing; another one is refused, as vLLM does.

        Raises CallError for a name that is taken, and for a folder that holds no adapter of a base model here.
        """
        if name in self._bases or self._adapters.get(name, ("", folder))[1] != folder:
            raise CallError(f"The name {name!r} is taken.", openai_code="invalid_value", param="lora_name")
        if name in self._adapters:
            return
        try:
            base = self._base_of(folder)
            self._host(base).adapted.add(name, folder)
        except ModelUnavailableError as error:
            raise CallError(str(error), openai_code="invalid_value", param="lora_path") from error
        self._adapters[name] = (base, folder)

    def unload(self, name: str, asked: Iterable[Any]) -> None:
        """Frees an adapter. Raises CallError where there is none, and where one of the rows ``asked`` for needs it."""
        if name not in self._adapters:
            raise _no_model(name)
        host, _ = self.of(name)
        if any(row.adapter == name for row in asked):
            raise CallError(f"{name!r} is answering; try again.", openai_code="rate_limit_exceeded", retry_after=1)
        host.decoder.forget(name)
        host.adapted.remove(name)
        del self._adapters[name]

    def computing(self) -> contextlib.AbstractContextManager[Callable[[], None]]:
        """While inside, this process shares the processor's cores with others that compute; gives what to call between steps.

        At least one base model must be loaded.
        """
        from watchword.models.threads import sharing_cores

        return sharing_cores(next(iter(self._hosts.values())).model.device)

    def _base_of(self, folder: Path) -> str:
        """Which base model an adapter was trained on."""
        wanted = resolve(folder).adapters[:-1], resolve(folder).wheel, resolve(folder).folder, resolve(folder).hub_id
        for base in self._bases:
            source = resolve(base)
            if (source.adapters, source.wheel, source.folder, source.hub_id) == wanted:
                return base
        raise ModelUnavailableError(
            f"it was trained on none of the models that are served here: {', '.join(self._bases)}", path=folder
        )

    def _host(self, base: str) -> Host:
        if base not in self._hosts:
            # Here, since they load torch: who asks only for the names of the models needs none.
            from watchword.models.adapted import AdaptedModel
            from watchword.models.batching import BatchDecoder
            from watchword.models.load import load

            adapted = AdaptedModel(load(base))
            self._hosts[base] = Host(adapted, BatchDecoder(adapted))
        return self._hosts[base]


def _no_model(name: str) -> CallError:
    return CallError(f"The model {name!r} does not exist.", openai_code="model_not_found", param="model")
