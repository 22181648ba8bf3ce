"""Adapters at an upstream: put where it reads them, loaded before the first request, and again where it has forgotten them.

A model whose adapter is not loaded is unavailable. It is never asked for under a name that the upstream may take for the
model that was not tuned.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from watchword.errors import CallError, ModelUnavailableError
from watchword.gateway.configuration import UpstreamSettings
from watchword.gateway.upstream import RefusedError, Upstream, whole_of
from watchword.gateway.wire.adapters import is_loaded, is_unknown_adapter, load_body, load_url
from watchword.release.engine import place_adapter
from watchword.release.reading import Guarded, Release

log = logging.getLogger("watchword.gateway")


@dataclass(frozen=True)
class Adapter:
    """A release's adapter: its name, which no other weights ever have, and its folder as the upstream sees it."""

    name: str
    folder: str


def placed(release: Guarded, upstream: UpstreamSettings) -> Adapter:
    """The adapter of a release, put into the upstream's folder of adapters.

    Raises what ``place_adapter`` raises, and OutputError.
    """
    if not isinstance(release, Release):
        raise ModelUnavailableError("a model without a release has no adapter; name what the upstream calls it")
    if upstream.adapters is None:
        raise ModelUnavailableError(f"the upstream {upstream.name!r} has no folder of adapters; give `adapters`")
    target = place_adapter(release.folder, release.manifest, Path(upstream.adapters), base=upstream.base_model)
    there = upstream.adapters_there
    # The upstream may run in a container; those are Linux.
    return Adapter(target.name, str(target) if there is None else str(PurePosixPath(there) / target.name))


class AdapterLoader:
    """What one upstream has been asked to load. Made and used on one event loop."""

    def __init__(self, upstream: Upstream, settings: UpstreamSettings) -> None:
        self._upstream, self._kind = upstream, settings.kind
        self._url = load_url(settings.kind, settings.url)
        self._loaded: set[str] = set()
        self._lock = asyncio.Lock()

    async def load(self, adapter: Adapter) -> None:
        """Has it loaded, if that has not been done. Raises CallError where the upstream does not load it."""
        if adapter.name in self._loaded:
            return
        async with self._lock:
            if adapter.name in self._loaded:
                return
            status, said = await self._upstream.manage(self._url, load_body(adapter.name, adapter.folder))
            if not is_loaded(self._kind, status, said):
                # Without its words: they may name anything.
                log.error({"event": "adapter is not loaded", "adapter": adapter.name, "status": status})
                raise CallError(
                    "The model is not being served at the moment; try again later.",
                    openai_code="model_unavailable",
                    retry_after=5,
                )
            self._loaded.add(adapter.name)
            log.info({"event": "adapter loaded", "adapter": adapter.name})

    async def load_again(self, adapter: Adapter) -> None:
        """Has it loaded by an upstream that has forgotten it, after a restart for example."""
        self._loaded.discard(adapter.name)
        await self.load(adapter)

    def at(self, adapter: Adapter) -> LoadedUpstream:
        """The upstream, for requests to this adapter."""
        return LoadedUpstream(self, self._upstream, adapter)

    def has_forgotten(self, status: int, said: bytes) -> bool:
        """Whether a refused request was for an adapter that the upstream does not know."""
        return is_unknown_adapter(self._kind, status, said)


class LoadedUpstream:
    """An upstream for requests to one adapter, which is loaded first."""

    def __init__(self, loader: AdapterLoader, upstream: Upstream, adapter: Adapter) -> None:
        self._loader, self._upstream, self._adapter = loader, upstream, adapter

    async def whole(self, body: bytes) -> bytes:
        """As ``Upstream.whole``."""
        async with self.pieces(body) as pieces:
            return await whole_of(pieces, self._upstream.most_bytes)

    @contextlib.asynccontextmanager
    async def pieces(self, body: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
        """As ``Upstream.pieces``. Where the adapter is forgotten it is loaded, and the request sent once more."""
        await self._loader.load(self._adapter)
        async with contextlib.AsyncExitStack() as stack:
            try:
                pieces = await stack.enter_async_context(self._upstream.pieces(body))
            except RefusedError as refusal:
                if not self._loader.has_forgotten(refusal.status, refusal.said):
                    raise
                await self._loader.load_again(self._adapter)
                pieces = await stack.enter_async_context(self._upstream.pieces(body))
            yield pieces
