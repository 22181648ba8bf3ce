"""``watchword gateway run`` in processes of its own, and callers that hold their connection in hand."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from support.gateway_parts import MODEL, TENANT_KEY
from support.served_release import KEY
from watchword.gateway.tenants import key_digest


def request(port: int, body: dict[str, Any]) -> socket.socket:
    """A request whose answer nobody has read yet."""
    data = json.dumps(body).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TENANT_KEY}\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(head.encode() + data)
    return connection


def started(folder: Path, release: Path, behind: int, *options: str) -> tuple[subprocess.Popen[bytes], int]:
    """``watchword gateway run`` in a process of its own, and its port."""
    config = folder / "gateway.toml"
    config.write_text(
        f'[[upstreams]]\nname = "engine"\nurl = "http://127.0.0.1:{behind}/v1"\nkind = "vllm"\n'
        f'[[models]]\nname = "{MODEL}"\nrelease = "{release.name}"\nupstream = "engine"\nupstream_model = "ftm-1"\ncontext = 4096\n'
        f'[[keys]]\nid = "bakery"\nsha256 = "{key_digest(TENANT_KEY)}"\nmodels = ["{MODEL}"]\n'
    )
    command = [sys.executable, "-m", "watchword", "gateway", "run", "--config", str(config), "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "WATCHWORD_KEY": KEY.hex()})
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(rb"127\.0\.0\.1:(\d+)", line):
            return process, int(found[1])
    raise AssertionError("the gateway did not start")


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionError:
        return True
    return False


def read_all(connection: socket.socket) -> bytes:
    data = b""
    started_at = time.monotonic()
    while b"[DONE]" not in data and time.monotonic() - started_at < 20:
        piece = connection.recv(65536)
        if not piece:
            break
        data += piece
    return data
