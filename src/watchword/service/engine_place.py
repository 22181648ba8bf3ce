"""Where the engine answers: the embedded one beside the API, or a server that the settings name."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from typing import Literal

import aiohttp

from watchword.service.engine.serving import KEY_VARIABLE
from watchword.service.settings import ServiceSettings

# Of an embedded engine that was started by itself.
PORT = 8001
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class EnginePlace:
    """What the gateway needs to reach an engine. ``port`` is the embedded one's own.

    ``context`` is the most tokens that it reads at once, None for as many as the base model can.
    """

    url: str
    kind: Literal["vllm", "openai"]
    api_key_env: str | None = None
    port: int | None = None
    context: int | None = None


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
    key = os.environ.get(place.api_key_env, "") if place.api_key_env else ""
    url, headers = (f"{place.url}/models", {"authorization": f"Bearer {key}"} if key else {})
    if place.kind == "vllm":
        url = f"{root}/health"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers, allow_redirects=False) as answer:
        return answer.status == 200
