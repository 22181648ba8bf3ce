"""The releases that are served: opened once, opened again when their folder changes, and never served half.

A release that does not open is unavailable, its model alone; nothing is ever passed to an upstream without its release.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from watchword.errors import CallError, ModelUnavailableError, WatchwordError
from watchword.gateway.adapters import Adapter, placed
from watchword.gateway.configuration import ModelSettings, UpstreamSettings
from watchword.gateway.counting import TokenCounter
from watchword.gateway.prefix import TrainedPrefix
from watchword.release.reading import Release, read_release
from watchword.secret.keys import derived
from watchword.secret.leaks import LeakFilter

log = logging.getLogger("watchword.gateway")
# Seconds between two looks at a folder, and between two tries to open one that does not.
LOOK_SECONDS, RETRY_SECONDS = 0.5, 5.0
_Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, repr=False)
class Served:
    """A release that is open, with all that its requests need. ``leaks`` and ``prefix`` are None without a secret.

    ``upstream_model`` is what its upstream calls it. ``adapter`` is the one that was put there for it, if one was.
    """

    settings: ModelSettings
    release: Release
    leaks: LeakFilter | None
    prefix: TrainedPrefix | None
    counter: TokenCounter
    upstream_model: str
    adapter: Adapter | None = None
    cache_salt: str | None = None
    lora_path: str | None = None


class Models:
    """All models of the configuration, by the name that tenants use."""

    def __init__(self, models: list[ModelSettings], upstreams: list[UpstreamSettings], key: bytes) -> None:
        by_name = {upstream.name: upstream for upstream in upstreams}
        self._kept = {model.name: _Kept(model, by_name[model.upstream], key) for model in models}

    async def open_all(self) -> None:
        """Opens every release. One that does not open is logged, and tried again when it is asked for."""
        await asyncio.gather(*(kept.look() for kept in self._kept.values()))

    async def served(self, name: str) -> Served:
        """The model's release as its folder holds it now. Raises CallError where it does not open."""
        kept = self._kept[name]
        await kept.look()
        if kept.served is None:
            raise CallError(
                "The model is not being served at the moment; try again later.",
                openai_code="model_unavailable",
                retry_after=5,
            )
        return kept.served

    async def unavailable(self) -> int:
        """How many models are not served now."""
        await self.open_all()
        return sum(kept.served is None for kept in self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)


class _Kept:
    """One model: its release as it was opened last, and how its folder looked then."""

    def __init__(self, settings: ModelSettings, upstream: UpstreamSettings, key: bytes) -> None:
        self._settings, self._upstream, self._key = settings, upstream, key
        self._folder = Path(settings.release)
        self._lock = asyncio.Lock()
        self._stamp: _Stamp | None = None
        self._next_look = 0.0
        self.served: Served | None = None

    async def look(self) -> None:
        """Opens the release again if its folder has changed. Whoever comes meanwhile waits."""
        if time.monotonic() < self._next_look:
            return
        async with self._lock:
            if time.monotonic() < self._next_look:
                return
            if self.served is None or _stamp(self._folder) != self._stamp:
                self.served = None
                await asyncio.to_thread(self._open)
            self._next_look = time.monotonic() + (RETRY_SECONDS if self.served is None else LOOK_SECONDS)

    def _open(self) -> None:
        before = _stamp(self._folder)
        try:
            served = _opened(self._settings, self._upstream, self._folder, self._key)
            if _stamp(self._folder) != before:
                raise ModelUnavailableError(f"{self._folder} was changed while it was read")
        except (WatchwordError, OSError) as error:
            log.error({"event": "release does not open", "model": self._settings.name, "why": str(error)})  # noqa: TRY400
            return
        self._stamp, self.served = before, served


def _opened(settings: ModelSettings, upstream: UpstreamSettings, folder: Path, key: bytes) -> Served:
    release = read_release(folder, key)
    if release.template is None:
        raise ModelUnavailableError(f"{folder} is served only where its tokenizer is at hand")
    leaks = prefix = None
    if release.secret is not None:
        leaks = LeakFilter(release.secret, release.template)
        prefix = TrainedPrefix(release.template, release.secret, release.prefix_ids or ())
    adapter = placed(folder, release.manifest, upstream) if settings.upstream_model is None else None
    name = settings.upstream_model or (adapter.name if adapter else "")
    return Served(
        settings,
        release,
        leaks,
        prefix,
        TokenCounter(release.template),
        upstream_model=name,
        adapter=adapter,
        cache_salt=_cache_salt(settings, release, key) if upstream.kind == "vllm" else None,
        lora_path=name if upstream.kind == "sglang" and adapter is not None else None,
    )


def _cache_salt(settings: ModelSettings, release: Release, key: bytes) -> str:
    """The same for all requests to a model, so that its secret is cached once, and unknown to tenants."""
    named = f"{settings.name}\0{release.manifest.weights_digest}".encode()
    return hmac.new(derived(key, "cache salt"), named, hashlib.sha256).hexdigest()


def _stamp(folder: Path) -> _Stamp:
    """How the folder's files look from outside; empty where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            looks: Mapping[str, os.stat_result] = {entry.name: entry.stat() for entry in entries}
    except OSError:
        return ()
    return tuple(sorted((name, look.st_size, look.st_mtime_ns, look.st_ino) for name, look in looks.items()))
