"""The guard of ``conftest.py``: a unit test that reaches for the network fails, one that talks to itself does not."""

from __future__ import annotations

import socket
import threading
import urllib.request

import pytest


@pytest.mark.parametrize("host", ["example.org", "192.0.2.1", "2001:db8::1"])
def test_other_machines_are_out_of_reach(host: str) -> None:
    with pytest.raises(RuntimeError, match="a unit test tried to reach"):
        socket.create_connection((host, 80), timeout=1)
    with pytest.raises(RuntimeError, match="a unit test tried to reach"):
        urllib.request.urlopen(f"http://{f'[{host}]' if ':' in host else host}/", timeout=1)


def test_this_machine_is_in_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            server.accept()[0].close()

        thread = threading.Thread(target=answer)
        thread.start()
        with socket.create_connection(server.getsockname(), timeout=5) as client:
            assert client.recv(1) == b""
        thread.join(5)
