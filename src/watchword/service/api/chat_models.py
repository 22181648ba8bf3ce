"""Models that can be called: base models by the policy, and tuned ones by the rows of the database."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from pathlib import Path

from watchword.errors import ModelUnavailableError, NotFoundError
from watchword.gateway.configuration import ModelSettings
from watchword.gateway.served import MOST_OPEN
from watchword.gateway.sources import OfferedModel, ReleaseSource, release_at
from watchword.models.catalog import resolve
from watchword.models.facts import facts_of
from watchword.release.artifact import check_owner
from watchword.release.engine import weights_name
from watchword.release.reading import Guarded, Plain, Release
from watchword.service.db import Database
from watchword.service.engine_place import EnginePlace
from watchword.service.settings import ServiceSettings
from watchword.service.types.models import TunedModel, release_owner
from watchword.service.types.tenants import EVERY_TENANT

ENGINE = "engine"


class OwnedRelease:
    """A tuned model's release, which opens only for the tenant, name and version that it was made for.

    It may be in a folder, or in an object store, from where it is fetched to ``cache`` and believed like one in a folder.
    """

    def __init__(self, model: TunedModel, cache: Path) -> None:
        self._model, self._release = model, release_at(model.location, cache)

    async def stamp(self) -> object:
        """That of the release, wherever it is."""
        return await self._release.stamp()

    async def open(self, key: bytes) -> Release:
        """Raises UnsealError for another's as well."""
        found, model = await self._release.open(key), self._model
        check_owner(found.folder, found.manifest, release_owner(model.tenant, model.name, model.version))
        return found


class PlainBase:
    """A base model as it is."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def stamp(self) -> object:
        """Always the same: what the engine serves under this name is not looked at here."""
        return self._name

    async def open(self, key: bytes) -> Guarded:  # noqa: ARG002 -- nothing is sealed
        """The model's template, which is all that its requests need."""
        return Plain((await asyncio.to_thread(facts_of, self._name)).template)


class GuardedBase:
    """A release of the provider's that answers under its base model's name."""

    def __init__(self, name: str, address: str) -> None:
        self._name, self._release = name, release_at(address)

    async def stamp(self) -> object:
        """That of the release."""
        return await self._release.stamp()

    async def open(self, key: bytes) -> Guarded:
        """The release. Raises ModelUnavailableError for one on another base model."""
        found = await self._release.open(key)
        if isinstance(found, Release):
            await asyncio.to_thread(self._check_base, found)
        return found

    def _check_base(self, found: Release) -> None:
        tuned, base = found.manifest.model, self._name
        if tuned != base and resolve(tuned) != resolve(base):
            raise ModelUnavailableError(f"the release is of {tuned}, and not of {base}", path=found.folder)


class ChatModels:
    """Base models and tuned ones, each opened when it is first asked for. A base model's name is no tuned model's."""

    def __init__(self, database: Database, engine: EnginePlace, settings: ServiceSettings) -> None:
        self._database, self._engine, self._policies = database, engine, settings.policies
        self._cache = settings.fetched
        # One that is fetched remembers when it has looked at the store: it is made once, and not for every look.
        self._released = functools.lru_cache(MOST_OPEN)(self._release_of)

    async def names(self) -> Sequence[str]:
        """None: there may be thousands."""
        return ()

    async def model(self, name: str) -> OfferedModel | None:
        """The model of this name, where it is ready."""
        # In a thread: the database is asked, or the model's small files are read and perhaps fetched.
        return await asyncio.to_thread(self._base if name in self._policies else self._tuned, name)

    def _base(self, name: str) -> OfferedModel | None:
        chat = self._policies[name].chat
        if not chat.enabled:
            return None
        source: ReleaseSource
        if chat.release:
            called, source = chat.engine_model or None, GuardedBase(name, chat.release)
        else:
            called, source = chat.engine_model or name, PlainBase(name)
        return OfferedModel(self._settings(name, name, chat.release or name, called), source)

    def _tuned(self, name: str) -> OfferedModel | None:
        try:
            found = self._database.model(EVERY_TENANT, name)
        except NotFoundError:
            return None
        # A server that loads nothing at run time has the weights under this name already, or does not know it.
        called = None if self._engine.loads else weights_name(found.weights_digest)
        return OfferedModel(self._settings(name, found.base, found.location, called), self._released(found))

    def _release_of(self, model: TunedModel) -> OwnedRelease:
        return OwnedRelease(model, self._cache)

    def _settings(self, name: str, base: str, release: str, called: str | None) -> ModelSettings:
        return ModelSettings(
            name=name,
            release=release,
            upstream=ENGINE,
            upstream_model=called,
            # The embedded engine reads what the base model can. Of another server the settings must say it.
            context=self._engine.context or context_of(base),
        )


@functools.cache
def context_of(base: str) -> int:
    """The most tokens that a base model reads at once. Raises WatchwordError where this process cannot know."""
    context = facts_of(base).context
    if context is None:
        raise ModelUnavailableError(f"how many tokens {base!r} reads is not known; give `context` in [engine]")
    return context
