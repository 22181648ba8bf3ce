"""What a scripted upstream does in the tests of several forms."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from support.gateway_parts import DONE, Scripted, begin, completion, end, event, friendly, more, respond, usage_event

Script = Callable[[Scripted, dict[str, Any], Any], Awaitable[None]]

CALLED = {"id": "x", "type": "function", "function": {"name": "oven", "arguments": '{"degrees": 220}'}}


async def calling(_: Scripted, body: dict[str, Any], send: Any) -> None:
    """Calls the oven, whole or in pieces."""
    if not body.get("stream"):
        reply = completion("")
        message = {"role": "assistant", "content": None, "tool_calls": [CALLED]}
        reply["choices"][0] |= {"message": message, "finish_reason": "tool_calls"}
        await respond(send, json.dumps(reply).encode())
        return
    await begin(send)
    called = {"index": 0, "id": "x", "type": "function", "function": {"name": "oven", "arguments": ""}}
    await more(send, event({"role": "assistant", "content": None, "tool_calls": [called]}))
    for piece in ('{"deg', 'rees": ', "220}"):
        await more(send, event({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}))
    await more(send, event({}, finish="tool_calls") + usage_event() + DONE)
    await end(send)


async def breaking(_: Scripted, __: dict[str, Any], send: Any) -> None:
    """A stream that breaks off behind its first word, with an error in words of the server's own."""
    await begin(send)
    await more(send, event({"content": "So "}) + b'data: {"error": {"message": "CUDA out of memory at /srv"}}\n\n')
    await end(send)


def by_text(scripts: Mapping[str, Script]) -> Script:
    """Does what the last message's text says: breaks at "break", calls the tools that are given, and else is friendly."""

    async def script(upstream: Scripted, body: dict[str, Any], send: Any) -> None:
        usual = calling if "tools" in body else friendly
        found = {"break": breaking, **scripts}.get(str(body["messages"][-1]["content"]), usual)
        await found(upstream, body, send)

    return script


def replying(reply: dict[str, Any], **choice: Any) -> Script:
    """Always the same whole reply, its first choice with other fields."""
    body = json.dumps({**reply, "choices": [{**reply["choices"][0], **choice}]}).encode()

    async def script(_: Scripted, __: dict[str, Any], send: Any) -> None:
        await respond(send, body)

    return script
