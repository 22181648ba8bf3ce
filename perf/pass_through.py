"""The gateway's HTTP stack and nothing else, to measure the gateway against: bytes in, bytes out.

``python perf/pass_through.py PORT UPSTREAM_URL`` serves it.
"""

from __future__ import annotations

import sys
from typing import Any

import aiohttp
import uvicorn

from watchword.gateway.serving import server_config


class PassThrough:
    """Sends every request to one URL, and what comes back to the client."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        async with self._session.post(self._url, data=await _body(receive)) as response:
            kind = [(b"content-type", response.headers["content-type"].encode())]
            await send({"type": "http.response.start", "status": response.status, "headers": kind})
            while piece := await response.content.readany():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as self._session:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


async def _body(receive: Any) -> bytes:
    data = b""
    while True:
        message = await receive()
        data += message.get("body", b"")
        if not message.get("more_body"):
            return data


if __name__ == "__main__":
    uvicorn.Server(server_config(PassThrough(sys.argv[2]), "127.0.0.1", int(sys.argv[1]), drain_seconds=1)).run()
