"""A model's server that costs next to nothing: it knows one reply and one stream, and writes them as bytes.

``python perf/mock_upstream.py PORT`` serves it. Neither it nor the load (``load.py``) knows more of HTTP than a measurement
on loopback needs: what they cost is taken from the very cores that the gateway is measured on.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import Any

import msgspec
import uvloop

CHUNKS = 200
# Events that go out before others have their turn, each in a write of its own.
_BURST = 8
_USAGE = {"prompt_tokens": 300, "completion_tokens": 60, "total_tokens": 360}
REPLY = msgspec.json.encode(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "up",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Mix flour, water, salt and yeast, then wait. " * 8},
                "finish_reason": "stop",
            }
        ],
        "usage": _USAGE,
    }
)


def _event(**fields: Any) -> bytes:
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "up", **fields}
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def _piece(delta: dict[str, str], finish: str | None = None) -> bytes:
    return _event(choices=[{"index": 0, "delta": delta, "finish_reason": finish}])


def _chunked(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


_WORDS = [_chunked(_piece({"content": f" {word}"})) for word in ("bread", "flour", "salt", "yeast")]
_END = _chunked(_piece({}, "stop") + _event(choices=[], usage=_USAGE) + b"data: [DONE]\n\n") + b"0\r\n\r\n"
_WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(REPLY), REPLY)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class MockUpstream(asyncio.Protocol):
    """One connection. A request is over when its ``content-length`` has come."""

    def __init__(self) -> None:
        self._data = b""
        self._transport: Any

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return
        self._data = b""
        if b'"stream":true' in body:
            self._transport.write(_HEAD)
            self._words(itertools.islice(itertools.cycle(_WORDS), CHUNKS))
        else:
            self._transport.write(_WHOLE)

    def _words(self, words: Any) -> None:
        burst = list(itertools.islice(words, _BURST))
        for word in burst:
            self._transport.write(word)
        if burst:
            asyncio.get_running_loop().call_soon(self._words, words)
        else:
            self._transport.write(_END)


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(MockUpstream, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
