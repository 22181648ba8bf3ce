"""A local server that speaks the part of HashiCorp Vault that wraps keys: the transit engine, as its documentation says.

Keys have versions; a ciphertext is ``vault:vN:`` and base64. Associated data are checked, tokens and names are too.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN, KEY = "s.test-token", "watchword"


class Transit(ThreadingHTTPServer):
    """The state: every version of the one key, the oldest first."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.versions = [secrets.token_bytes(32)]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def rotate(self) -> None:
        self.versions.append(secrets.token_bytes(32))


class _Handler(BaseHTTPRequestHandler):
    server: Transit

    def do_GET(self) -> None:
        self._answer("keys", {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self._answer(self.path.split("/")[3], json.loads(body))

    def _answer(self, verb: str, asked: dict[str, Any]) -> None:
        if self.headers.get("X-Vault-Token") != TOKEN:
            return self._send(403, {"errors": ["permission denied"]})
        if self.path != f"/v1/transit/{verb}/{KEY}":
            return self._send(404, {"errors": []})
        try:
            return self._send(200, {"data": self._data(verb, asked)})
        except (InvalidTag, IndexError, ValueError):
            return self._send(400, {"errors": ["cipher: message authentication failed"]})

    def _data(self, verb: str, asked: dict[str, Any]) -> dict[str, Any]:
        versions = self.server.versions
        if verb == "keys":
            return {"name": KEY, "type": "aes256-gcm96", "latest_version": len(versions)}
        extra = base64.b64decode(asked["associated_data"])
        if verb == "encrypt":
            nonce = secrets.token_bytes(12)
            sealed = nonce + AESGCM(versions[-1]).encrypt(nonce, base64.b64decode(asked["plaintext"]), extra)
            return {"ciphertext": f"vault:v{len(versions)}:{base64.b64encode(sealed).decode()}"}
        prefix, version, text = asked["ciphertext"].split(":")
        if prefix != "vault":
            raise ValueError("invalid ciphertext: no prefix")
        sealed = base64.b64decode(text, validate=True)
        plain = AESGCM(versions[int(version[1:]) - 1]).decrypt(sealed[:12], sealed[12:], extra)
        return {"plaintext": base64.b64encode(plain).decode()}

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextlib.contextmanager
def transit_server() -> Iterator[Transit]:
    server = Transit()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
