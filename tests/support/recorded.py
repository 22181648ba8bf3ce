"""OpenAI's client with every byte that it receives kept, for tests that open and close it themselves."""

from __future__ import annotations

import httpx2
from openai import OpenAI

from watchword.service.demo.recording import Recording


def recorded_client(url: str, key: str) -> tuple[OpenAI, Recording]:
    """The client, and what it has received."""
    transport = Recording()
    return OpenAI(base_url=url, api_key=key, http_client=httpx2.Client(transport=transport, timeout=600)), transport
