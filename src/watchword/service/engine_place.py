"""Where the engine answers: the embedded one beside the API, or a server that the settings name."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from dataclasses import dataclass
from typing import Literal

import aiohttp

from watchword.service.engine.serving import KEY_VARIABLE
from watchword.service.logs import log
from watchword.service.settings import ServiceSettings

# Of an embedded engine that was started by itself.
PORT = 8001
_LOOPBACK = "127.0.0.1"
_BUSY, _UNLOAD_TRIES, _UNLOAD_WAIT = 429, 5, 1.0
_UNLOAD_TIMEOUT = aiohttp.ClientTimeout(total=30)


@dataclass(frozen=True)
class EnginePlace:
    """What the gateway needs to reach an engine. ``port`` is the embedded one's own.

    ``context`` is the most tokens that it reads at once, None where the settings do not say.
    """

    url: str
    kind: Literal["vllm", "openai"]
    api_key_env: str | None = None
    port: int | None = None
    context: int | None = None

    @property
    def embedded(self) -> bool:
        """Whether it is the one beside the API."""
        return self.port is not None

    @property
    def loads(self) -> bool:
        """Whether it loads adapters at run time."""
        return self.kind != "openai"


def engine_place(settings: ServiceSettings, *, port: int = PORT) -> EnginePlace:
    """The engine of the settings; ``port`` is where the embedded one listens."""
    engine = settings.engine
    if engine.url is not None:
        kind: Literal["vllm", "openai"] = "openai" if engine.kind == "openai" else "vllm"
        return EnginePlace(engine.url, kind, engine.api_key_env, context=engine.context)
    return EnginePlace(f"http://{_LOOPBACK}:{port}/v1", "vllm", KEY_VARIABLE, port, engine.context)


def free_port() -> int:
    """A port on the loopback address that nobody listens on now."""
    with socket.socket() as found:
        found.bind((_LOOPBACK, 0))
        return int(found.getsockname()[1])


def share_engine_key() -> None:
    """Draws the key that this process's children share, unless the environment holds one."""
    os.environ.setdefault(KEY_VARIABLE, secrets.token_urlsafe(32))


async def answers(place: EnginePlace) -> bool:
    """Whether the engine is there: its ``/health`` for the kinds that have one, else its list of models."""
    root = place.url.rstrip("/").removesuffix("/v1")
    url = f"{root}/health" if place.kind == "vllm" else f"{place.url}/models"
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers=_headers(place), allow_redirects=False) as answer,
    ):
        return answer.status == 200


async def unload(place: EnginePlace, name: str) -> bool:
    """Has the engine forget the adapter ``name``, which nobody can ask for any more. Says whether it has none of it now.

    An engine that is answering with it says so, and is asked again. One that loads nothing at run time is not asked.
    """
    if place.kind != "vllm":
        return True
    status: int | str = "no answer"
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        for _ in range(_UNLOAD_TRIES):
            status = await _asked_to_unload(place, name)
            if status != _BUSY:
                break
            await asyncio.sleep(_UNLOAD_WAIT)
    # An engine that never had it is as good as one that has forgotten it.
    if status in (200, 404):
        log.info({"event": "adapter unloaded", "adapter": name})
        return True
    log.error({"event": "adapter is not unloaded", "adapter": name, "status": status})
    return False


async def _asked_to_unload(place: EnginePlace, name: str) -> int:
    url = f"{place.url.rstrip('/')}/unload_lora_adapter"
    async with (
        aiohttp.ClientSession(timeout=_UNLOAD_TIMEOUT) as session,
        session.post(url, json={"lora_name": name}, headers=_headers(place), allow_redirects=False) as answer,
    ):
        return answer.status


def _headers(place: EnginePlace) -> dict[str, str]:
    key = os.environ.get(place.api_key_env, "") if place.api_key_env else ""
    return {"authorization": f"Bearer {key}"} if key else {}
