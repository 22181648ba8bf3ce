"""Whom the attack asks: a gateway as its tenant does, or the model's server behind the secret, with nothing in between."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from watchword.chat.types import Conversation
from watchword.chat.types import Message as ChatMessage
from watchword.gateway.attack.base import Got, Message
from watchword.gateway.call import ChatCall
from watchword.gateway.guarding import guarded_call
from watchword.gateway.wire.upstream import upstream_body
from watchword.release.reading import Release

# Calls at once, and how often and how long a call waits that is told to come back.
_AT_ONCE, _TRIES, _PATIENCE = 32, 4, 30.0
_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True)
class Target:
    """Chat completions at a URL. With a ``release``, requests carry its secret, and nobody looks at the answers.

    ``url`` is what stands before ``/chat/completions``. ``model`` is the name there, ``lora_path`` SGLang's of an adapter.
    """

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    release: Release | None = field(default=None, repr=False)
    lora_path: str | None = None

    @contextlib.asynccontextmanager
    async def asking(self) -> AsyncIterator[_Asker]:
        """What asks, while inside."""
        headers = {"Content-Type": "application/json"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=900)) as session:
            yield _Asker(self, session)

    def body(self, messages: Sequence[Message], options: Mapping[str, Any]) -> bytes:
        """One request."""
        if self.release is None:
            return msgspec.json.encode({"model": self.model, "messages": messages, **options})
        conv = Conversation(messages=tuple(ChatMessage(role=one["role"], content=one["content"]) for one in messages))
        sent = guarded_call(conv, self.release).sent
        call = ChatCall(self.model, conv, options=options)
        return upstream_body(call, sent, model=self.model, lora_path=self.lora_path)


class _Asker:
    """Asks one target, a bounded number of times at once."""

    def __init__(self, target: Target, session: aiohttp.ClientSession) -> None:
        self._target, self._session = target, session
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Got:
        """One answer. A gateway that says when to come back is asked again then."""
        body = self._target.body(messages, options)
        async with self._places:
            for _ in range(_TRIES - 1):
                got, wait = await self._asked(body)
                if got.status != 429:
                    return got
                await asyncio.sleep(min(wait, _PATIENCE))
            return (await self._asked(body))[0]

    async def _asked(self, body: bytes) -> tuple[Got, float]:
        started = time.monotonic()
        url = f"{self._target.url.rstrip('/')}/chat/completions"
        try:
            async with self._session.post(url, data=body, allow_redirects=False) as response:
                raw = (await response.read()).decode("utf-8", "replace")
                wait = response.headers.get("retry-after", "1")
                got = _got(response.status, raw, time.monotonic() - started)
        except (aiohttp.ClientError, TimeoutError) as error:
            return Got(0, code=type(error).__name__), 0.0
        return got, float(wait) if wait.isdecimal() else 1.0


def _got(status: int, raw: str, seconds: float) -> Got:
    try:
        reply = msgspec.json.decode(raw)
    except _DECODE_ERRORS:
        reply = None
    given: dict[str, Any] = reply if isinstance(reply, dict) else {}
    if status != 200:
        error = given.get("error")
        code = error.get("code") if isinstance(error, dict) else None
        return Got(status, code=str(code or status), seconds=seconds, raw=raw)
    usage = given.get("usage")
    prompt = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    texts = tuple(text for choice in given.get("choices") or () for text in _texts(choice.get("message") or {}))
    return Got(status, texts, prompt_tokens=prompt, seconds=seconds, raw=raw)


def _texts(message: Mapping[str, Any]) -> list[str]:
    calls = (call.get("function") or {} for call in message.get("tool_calls") or ())
    said = [message.get("content"), message.get("refusal"), *(call.get("arguments") for call in calls)]
    return [text for text in said if isinstance(text, str) and text]
