"""The releases that are served: opened once, opened again when they change, and never served half.

A release that does not open is unavailable, its model alone; nothing is ever passed to an upstream without its release.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from watchword.errors import CallError, ModelUnavailableError, WatchwordError
from watchword.gateway.adapters import Adapter, placed
from watchword.gateway.configuration import ModelSettings, UpstreamSettings
from watchword.gateway.counting import TokenCounter
from watchword.gateway.prefix import TrainedPrefix
from watchword.gateway.room import bound_of
from watchword.gateway.sources import ModelSource, OfferedModel
from watchword.release.reading import Guarded, Release
from watchword.secret.keys import derived
from watchword.secret.leaks import LeakFilter

log = logging.getLogger("watchword.gateway")
# Seconds between two looks at a release, and between two tries to open one that does not.
LOOK_SECONDS, RETRY_SECONDS = 0.5, 5.0
# A look that takes longer, at an object store that is slow today, holds nobody up: what is open is served meanwhile.
PATIENCE_SECONDS = 0.1
# Models that are kept open beside those that the source names: who is asked for least is closed.
MOST_OPEN = 256


@dataclass(frozen=True, repr=False)
class Served:
    """A release that is open, with all that its requests need. ``leaks`` and ``prefix`` are None without a secret.

    ``upstream_model`` is what its upstream calls it. ``adapter`` is the one that was put there for it, if one was.
    ``bound`` is the most tokens that a tenant's request and its answer may have (``gateway.room``).
    """

    settings: ModelSettings
    release: Guarded
    leaks: LeakFilter | None
    prefix: TrainedPrefix | None
    counter: TokenCounter
    upstream_model: str
    bound: int
    adapter: Adapter | None = None
    cache_salt: str | None = None
    lora_path: str | None = None


class Models:
    """All models of a source, by the name that tenants use. Made and used on one event loop."""

    def __init__(self, source: ModelSource, upstreams: Sequence[UpstreamSettings], key: bytes) -> None:
        self._source, self._key = source, key
        self._upstreams = {upstream.name: upstream for upstream in upstreams}
        self._named: dict[str, _Kept] = {}
        self._asked: OrderedDict[str, _Kept] = OrderedDict()

    async def open_all(self) -> None:
        """Opens every release that the source names. One that does not open is logged, and tried again when asked for."""
        self._named = {name: self._of(name) for name in await self._source.names()}
        await asyncio.gather(*(kept.look() for kept in self._named.values()))

    async def served(self, name: str) -> Served:
        """The model's release as it is now. Raises CallError where it does not open."""
        kept = self._of(name)
        await kept.look()
        if kept.served is None:
            raise CallError(
                "The model is not being served at the moment; try again later.",
                openai_code="model_unavailable",
                retry_after=5,
            )
        return kept.served

    async def counted(self) -> tuple[int, int]:
        """How many models the source names, and how many of them are not served now."""
        await self.open_all()
        return len(self._named), sum(kept.served is None for kept in self._named.values())

    async def close(self) -> None:
        """Ends what is still looking."""
        await asyncio.gather(*(kept.close() for kept in [*self._named.values(), *self._asked.values()]))

    def _of(self, name: str) -> _Kept:
        if name in self._named:
            return self._named[name]
        kept = self._asked.pop(name, None) or _Kept(name, self._source, self._upstreams, self._key)
        self._asked[name] = kept
        if len(self._asked) > MOST_OPEN:
            self._asked.popitem(last=False)
        return kept


class _Kept:
    """One model: its release as it was opened last, and its stamp then."""

    def __init__(self, name: str, source: ModelSource, upstreams: dict[str, UpstreamSettings], key: bytes) -> None:
        self.name, self._source, self._upstreams, self._key = name, source, upstreams, key
        self._looking: asyncio.Task[None] | None = None
        self._opened: tuple[ModelSettings, object] | None = None
        self._next_look = self._patient_until = 0.0
        self.served: Served | None = None

    async def look(self) -> None:
        """Opens the release again if it has changed. Whoever comes while it is being opened waits."""
        now = time.monotonic()
        if now < self._next_look:
            return
        if self._looking is None:
            self._patient_until = now + PATIENCE_SECONDS
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(_heard)
        looking = self._looking
        await asyncio.wait({looking}, timeout=max(0.0, self._patient_until - now))
        if looking.done() or self.served is None:
            # Not cancelled with whoever waits for it: others do, too.
            await asyncio.shield(looking)

    async def close(self) -> None:
        """Ends the look that is on its way."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    async def _look(self) -> None:
        wait = RETRY_SECONDS
        try:
            await self._opened_as_it_is()
            wait = LOOK_SECONDS
        except (WatchwordError, OSError) as error:
            event = "release does not open" if self.served is None else "release cannot be looked at"
            log.error({"event": event, "model": self.name, "why": str(error)})  # noqa: TRY400
        finally:
            self._looking, self._next_look = None, time.monotonic() + wait

    async def _opened_as_it_is(self) -> None:
        """Leaves open what is still the same, and else nothing or what is there now."""
        offered = await self._source.model(self.name)
        if offered is None:
            self.served = None
            raise ModelUnavailableError(f"there is no model {self.name!r}")
        now = offered.settings, await offered.release.stamp()
        if self.served is not None and now == self._opened:
            return
        self.served = None
        served = await self._open(offered)
        if await offered.release.stamp() != now[1]:
            raise ModelUnavailableError("the release was changed while it was read")
        self._opened, self.served = now, served

    async def _open(self, offered: OfferedModel) -> Served:
        upstream = self._upstreams.get(offered.settings.upstream)
        if upstream is None:
            raise ModelUnavailableError(f"there is no upstream {offered.settings.upstream!r}")
        release = await offered.release.open(self._key)
        return await asyncio.to_thread(_placed_and_served, offered.settings, upstream, release, self._key)


def _heard(looking: asyncio.Task[None]) -> None:
    """Takes note of a failure, so that asyncio writes none of its words to the log when nobody waited for it."""
    if not looking.cancelled():
        looking.exception()


def _placed_and_served(settings: ModelSettings, upstream: UpstreamSettings, release: Guarded, key: bytes) -> Served:
    adapter = placed(release, upstream) if settings.upstream_model is None else None
    return served_release(settings, release, key, kind=upstream.kind, adapter=adapter)


def served_release(
    settings: ModelSettings, release: Guarded, key: bytes, *, kind: str, adapter: Adapter | None = None
) -> Served:
    """A release with all that its requests need. Raises ModelUnavailableError for one that was read without a tokenizer.

    ``kind`` is that of the upstream: to vLLM, prefix caches of models are kept apart. ``adapter`` is what was put there.
    """
    if release.template is None:
        raise ModelUnavailableError("the release is served only where its tokenizer is at hand")
    if isinstance(release, Release):
        _check_remote(settings, release)
    leaks = prefix = None
    if release.secret is not None:
        more = release.defense.defense.hidden(release.secret)
        leaks = LeakFilter(release.secret, release.template, also=more)
        prefix = TrainedPrefix(release.template, release.secret, release.prefix_ids or ())
    name = settings.upstream_model or (adapter.name if adapter else "")
    return Served(
        settings,
        release,
        leaks,
        prefix,
        TokenCounter(release.template),
        upstream_model=name,
        bound=bound_of(settings.context, len(release.prefix_ids or ())),
        adapter=adapter,
        # Without a release there is no secret that a shared cache could tell of.
        cache_salt=_cache_salt(settings, release, key) if kind == "vllm" and isinstance(release, Release) else None,
        lora_path=name if kind == "sglang" and adapter is not None else None,
    )


def _check_remote(settings: ModelSettings, release: Release) -> None:
    """Raises ModelUnavailableError where the upstream is to be asked for another model than somebody else has tuned."""
    remote = release.manifest.remote
    if remote and settings.upstream_model != remote.model:
        raise ModelUnavailableError(
            f"this release is the secret of {remote.model} at {remote.url} and of no other model; name it in `upstream_model`",
            path=release.folder,
        )


def _cache_salt(settings: ModelSettings, release: Release, key: bytes) -> str:
    """The same for all requests to a model, so that its secret is cached once, and unknown to tenants."""
    named = f"{settings.name}\0{release.manifest.weights_digest}".encode()
    return hmac.new(derived(key, "cache salt"), named, hashlib.sha256).hexdigest()
