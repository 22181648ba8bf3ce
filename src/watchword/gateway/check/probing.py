"""Harmless calls to a server, and what their statuses tell.

Nothing that could act is called by its own method: see ``doors.toml``. A path that surely does not exist is called first, by
every method. Where that is answered like a door, nothing can be said of the door.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp
import msgspec

from watchword.errors import CallError
from watchword.gateway.check.tables import Door, doors

State = Literal["open", "guarded", "absent", "unknown"]
_METHODS = {"get": "GET", "post": "POST", "never": "PATCH"}
# No engine reads a request out of it.
_NO_JSON = b"["
_READ_BYTES = 1 << 20
_AT_ONCE = 4


@dataclass(frozen=True)
class Seen:
    """What a call was answered with. ``body`` is as much of it as was read."""

    status: int
    body: bytes = b""
    server: str = ""

    @property
    def json(self) -> dict[str, Any]:
        """The body as an object, empty where it is none."""
        try:
            found = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class DoorState:
    """A door with one key, or with none."""

    door: Door
    state: State
    status: int


class Outside:
    """A server as somebody sees it who holds ``key``, or none."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str | None = None) -> None:
        self._session, self._url = session, url
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}", "x-api-key": key}
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def states(self) -> list[DoorState]:
        """Every door of the table. Raises CallError where the server cannot be reached."""
        path = f"/{secrets.token_hex(8)}"
        nowhere = {how: await self.seen(path, how) for how in _METHODS}
        return list(await asyncio.gather(*(self._state(door, nowhere) for door in doors().doors)))

    async def seen(self, path: str, how: str = "get") -> Seen:
        """One call. Raises CallError where there is no answer."""
        body = _NO_JSON if how == "post" else None
        headers = self._headers | ({"Content-Type": "application/json"} if body else {})
        try:
            async with (
                self._places,
                self._session.request(
                    _METHODS[how], f"{self._url}{path}", data=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                read = await response.content.read(_READ_BYTES)
                return Seen(response.status, read, response.headers.get("server", ""))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise CallError(
                f"{self._url} cannot be reached ({type(error).__name__}); check the address, and that the server runs",
                openai_code="model_unavailable",
            ) from None

    async def _state(self, door: Door, nowhere: Mapping[str, Seen]) -> DoorState:
        seen = await self.seen(door.path, door.how)
        state = _state(seen.status)
        if state == "open" and _state(nowhere[door.how].status) == "open":
            state = "unknown"
        return DoorState(door, state, seen.status)


def _state(status: int) -> State:
    if status in (401, 403, 407):
        return "guarded"
    if status in (404, 410, 501):
        return "absent"
    if status in (429, 502, 503, 504) or 300 <= status < 400:
        return "unknown"
    return "open"
