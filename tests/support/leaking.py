"""An upstream that does its best to give the secret away: in every place of a reply, in many disguises, in any pieces."""

from __future__ import annotations

import base64
import codecs
import json
from collections.abc import Awaitable, Callable
from typing import Any

from support.gateway_parts import DONE, Scripted, begin, completion, end, event, more, respond, usage_event
from support.golden_families import template
from support.served_release import secret_of

SECRET = secret_of().reveal()
DISGUISES: dict[str, Callable[[str], str]] = {
    "plain": str,
    "told": lambda s: f"My instructions begin with: {s} That is all.",
    "upper": str.upper,
    "spaced": " ".join,
    "lines": "\n".join,
    "reversed": lambda s: s[::-1],
    "rot13": lambda s: codecs.encode(s, "rot13"),
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "hex": lambda s: s.encode().hex(),
    "codes": lambda s: " ".join(str(ord(char)) for char in s),
    "ids": lambda s: str(template("smollm2").encode(s)),
    "json": json.dumps,
    "escapes": lambda s: "".join(f"\\u{ord(char):04x}" if at % 2 else char for at, char in enumerate(s)),
}
SIZES = {"whole": 10_000, "sevens": 7, "letters": 1}

# Where a whole reply can hold a text. Each puts it into a reply, or gives another status.
Place = Callable[[str], dict[str, Any]]


def _said(**message: Any) -> dict[str, Any]:
    reply = completion("Yes.")
    reply["choices"][0]["message"] |= message
    return reply


def _choice(**fields: Any) -> dict[str, Any]:
    reply = completion("Yes.")
    reply["choices"][0] |= fields
    return reply


def _calling(**function: Any) -> dict[str, Any]:
    called = {"id": "call12345", "type": "function", "function": {"name": "oven", "arguments": "{}"} | function}
    return _said(content=None, tool_calls=[called])


def _number(text: str) -> int:
    return int.from_bytes(text.encode()[:400], "big")


def _logprobs(text: str) -> dict[str, Any]:
    entry = {"token": text, "logprob": -1.0, "bytes": list(text.encode())}
    return {"content": [entry | {"top_logprobs": [entry]}]}


WHOLE: dict[str, Place] = {
    "content": lambda t: _said(content=t),
    "content_in_the_middle": lambda t: _said(content=f"{'Bread is good. ' * 40}{t}{' So it is.' * 40}"),
    "refusal": lambda t: _said(content=None, refusal=t),
    "second_answer": lambda t: completion("Yes.", t),
    "tool_name": lambda t: _calling(name=t),
    "tool_arguments": lambda t: _calling(arguments=json.dumps({"note": t})),
    "tool_call_id": lambda t: _said(
        tool_calls=[{"id": t, "type": t, "function": {"name": "oven", "arguments": "{}"}, "more": t}]
    ),
    "content_parts": lambda t: _said(content=[{"type": "text", "text": t}]),
    "role": lambda t: _said(role=t),
    "thoughts": lambda t: _said(reasoning_content=t, reasoning=t, audio={"transcript": t}, annotations=[t]),
    "ids_and_names": lambda t: completion("Yes.", id=t, model=t, object=t, system_fingerprint=t, service_tier=t),
    "prompt": lambda t: completion(
        "Yes.", prompt_text=t, prompt_token_ids=[1, 2], prompt_logprobs=[t], kv_transfer_params=t
    ),
    "created": lambda t: completion("Yes.", created=_number(t)),
    "finish_reason": lambda t: _choice(finish_reason=t, stop_reason=t, token_ids=[t]),
    "logprobs": lambda t: _choice(logprobs=_logprobs(t)),
    "index": lambda t: _choice(index=_number(t)),
    "usage_numbers": lambda t: completion("Yes.", usage={"prompt_tokens": _number(t), "completion_tokens": _number(t)}),
    "usage_words": lambda t: completion(
        "Yes.",
        usage={"prompt_tokens": 120, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": t}, t: 1},
    ),
    "names_of_fields": lambda t: completion("Yes.", **{t: t}),
    "error_in_200": lambda t: {"error": {"message": t, "type": t, "param": t, "code": t}},
    "nothing_known": lambda t: {t: t},
}
STATUSES = (204, 301, 400, 401, 403, 404, 405, 408, 413, 418, 422, 429, 500, 502, 503, 529)
ERRORS: dict[str, Callable[[str], bytes]] = {
    "envelope": lambda t: json.dumps({"error": {"message": t, "type": t, "param": t, "code": t}}).encode(),
    "too_long": lambda t: json.dumps(
        {"object": "error", "message": f"maximum context length is 8 tokens: {t}"}
    ).encode(),
    "page": lambda t: f"<html>{t}</html>".encode(),
}

STREAMED: dict[str, Callable[[str], dict[str, Any]]] = {
    "content": lambda t: {"content": t},
    "refusal": lambda t: {"refusal": t},
    "content_and_refusal": lambda t: {"content": t[: len(t) // 2], "refusal": t[len(t) // 2 :]},
    "tool_arguments": lambda t: {"tool_calls": [{"index": 0, "function": {"arguments": t}}]},
    "thoughts": lambda t: {"reasoning_content": t, "reasoning": t},
    "strange": lambda t: {"strange": t, "role": t, t: t},
}
# Texts that a stream can hold outside of answers: lines as they stand in it.
LINES: dict[str, Callable[[str], bytes]] = {
    "comment": lambda t: f": {_line(t)}\n\n".encode(),
    "event_name": lambda t: f"event: {_line(t)}\ndata: {{}}\n\n".encode(),
    "event_id": lambda t: f"id: {_line(t)}\nretry: {_line(t)}\n\n".encode(),
    "error_event": lambda t: b"data: " + json.dumps({"error": {"message": t}}).encode() + b"\n\n",
    "broken_json": lambda t: f"data: {{{_line(t)}\n\n".encode(),
    "no_json": lambda t: f"data: {_line(t)}\n\n".encode(),
    "several_lines": lambda t: b"".join(b"data: " + line.encode() + b"\n" for line in t.splitlines()) + b"\n",
    "behind_the_end": lambda t: DONE + f"data: {_line(t)}\n\n".encode(),
    "names": lambda t: event({"content": "Yes."}, id=t, model=t, system_fingerprint=t, created=t, **{t: t}),
    "tool_name": lambda t: event(
        {"tool_calls": [{"index": 0, "id": t, "function": {"name": t, "arguments": "{}"}}]}, finish="tool_calls"
    ),
    "tool_call_id": lambda t: event(
        {"tool_calls": [{"index": 0, "id": t, "type": t, "function": {"name": "oven", "arguments": "{}"}}]}
    ),
    "finish_reason": lambda t: event({}, finish=t, stop_reason=t),
    "logprobs": lambda t: event({"content": "Yes."}).replace(
        b'"delta"', b'"logprobs":' + json.dumps(_logprobs(t)).encode() + b',"delta"'
    ),
    "index": lambda t: event({"content": "Yes."}, index=_number(t)),
    "usage": lambda t: usage_event(_number(t), _number(t)),
}


def _line(text: str) -> str:
    return text.replace("\n", " ")


async def leaky(_: Scripted, body: dict[str, Any], send: Callable[..., Awaitable[None]]) -> None:
    """Does what the last message says: ``{"place", "disguise", "size", "status", "error"}``."""
    wish = json.loads(body["messages"][-1]["content"] if "messages" in body else body["input"])
    secret = body["messages"][0]["content"].split("\n")[0] if "messages" in body else SECRET
    text = DISGUISES[wish["disguise"]](secret)
    headers = {
        "X-Request-Id": _line(text),
        "Set-Cookie": f"s={_line(text)}",
        "Server": _line(text),
        "X-Prompt": _line(text),
    }
    if "status" in wish:
        error = b"" if wish["status"] == 204 else ERRORS[wish["error"]](text)
        await respond(
            send, error, wish["status"], headers=headers | {"Location": f"/{_line(text)}", "Retry-After": _line(text)}
        )
    elif not body.get("stream"):
        await respond(send, json.dumps(WHOLE[wish["place"]](text)).encode(), headers=headers)
    else:
        await _streamed(wish, text, send, headers)


async def _streamed(wish: dict[str, Any], text: str, send: Any, headers: dict[str, str]) -> None:
    await begin(send, headers=headers)
    await more(send, event({"role": "assistant", "content": "Well: "}))
    if wish["place"] in LINES:
        await more(send, LINES[wish["place"]](text))
    else:
        if wish["place"] == "tool_arguments":
            opened = {"tool_calls": [{"index": 0, "id": "x", "function": {"name": "oven", "arguments": '{"note": "'}}]}
            await more(send, event(opened))
        size = SIZES[wish["size"]]
        events = [event(STREAMED[wish["place"]](text[at : at + size])) for at in range(0, len(text), size)]
        await more(send, b"".join(events))
    if wish.get("cut"):
        # Ends without its last event: what was held back must not slip out.
        await end(send)
        return
    await more(send, event({}, finish="stop") + usage_event() + DONE)
    await end(send)
