"""What a scripted upstream does in the tests of several forms."""

from __future__ import annotations

import json
from typing import Any

from support.gateway_parts import DONE, Scripted, begin, completion, end, event, more, respond, usage_event

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
