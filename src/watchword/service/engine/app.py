"""The embedded engine's HTTP side, as an ASGI application in OpenAI's shape, with vLLM's two routes for adapters.

Only the gateway and the service ask it, on loopback and with a key. It puts no secret anywhere and keeps none back: what it
is asked is guarded already, and what it says is cleaned by the gateway.
"""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from watchword.chat.render import render_prompt
from watchword.errors import CallError, TemplateError
from watchword.gateway.call import ChatCall, Counts, Said, SaidPiece
from watchword.gateway.exchange import ClientGoneError, HttpExchange, Message, Receive, Send
from watchword.gateway.wire.chat.reading import read_call
from watchword.gateway.wire.chat.writing import ChatWriter
from watchword.gateway.wire.listing import models_json
from watchword.service.engine.answers import WrittenAnswer
from watchword.service.engine.hosts import Host, Hosts
from watchword.service.engine.scheduler import Scheduler, note_failure

_MOST_BODY = 32 << 20
# What the gateway lets through only by policy; here it has been decided.
_ALLOWED = ("logit_bias",)


# What constrains an answer, and the values that constrain nothing.
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "response_format": (None, {"type": "text"}),
    "tool_choice": (None, "auto", "none"),
}


class _Loading(msgspec.Struct):
    lora_name: str
    lora_path: str


class _Unloading(msgspec.Struct):
    lora_name: str


class EngineApp:
    """``api_key`` guards every route but /health."""

    def __init__(self, hosts: Hosts, scheduler: Scheduler, api_key: str) -> None:
        self._hosts, self._scheduler, self._api_key = hosts, scheduler, api_key
        self._routes = {
            ("POST", "/v1/chat/completions"): self._chat,
            ("GET", "/v1/models"): self._models,
            ("POST", "/v1/load_lora_adapter"): self._load,
            ("POST", "/v1/unload_lora_adapter"): self._unload,
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection, as ASGI has it."""
        if scope["type"] == "http":
            await self._exchange(HttpExchange(scope, receive, send))

    async def _exchange(self, exchange: HttpExchange) -> None:
        try:
            await self._answered(exchange)
        except ClientGoneError:
            pass
        except CallError as error:
            await exchange.fail(error)
        except Exception as error:  # noqa: BLE001 -- the boundary: one request fails, the engine goes on
            note_failure(error)
            await exchange.fail(CallError("The engine could not answer.", openai_code="internal_error"))

    async def _answered(self, exchange: HttpExchange) -> None:
        if (exchange.method, exchange.path) == ("GET", "/health"):
            writing, waiting = self._scheduler.load
            await exchange.answer(msgspec.json.encode({"status": "ok", "answers": writing, "waiting": waiting}))
            return
        given = exchange.header(b"authorization").removeprefix("Bearer ").strip()
        if not hmac.compare_digest(given.encode(), self._api_key.encode()):
            raise CallError("Wrong key.", openai_code="invalid_api_key")
        route = self._routes.get((exchange.method, exchange.path))
        if route is None:
            raise CallError("There is no such route.", openai_code="unknown_url")
        await route(exchange)

    async def _models(self, exchange: HttpExchange) -> None:
        await exchange.answer(models_json(self._hosts.names))

    async def _load(self, exchange: HttpExchange) -> None:
        asked = _decoded(await exchange.body(_MOST_BODY), _Loading)
        await self._scheduler.call(lambda: self._hosts.load(asked.lora_name, Path(asked.lora_path)))
        await exchange.answer(msgspec.json.encode({"status": "loaded", "lora_name": asked.lora_name}))

    async def _unload(self, exchange: HttpExchange) -> None:
        asked = _decoded(await exchange.body(_MOST_BODY), _Unloading)
        await self._scheduler.call(lambda: self._hosts.unload(asked.lora_name, self._scheduler.rows))
        await exchange.answer(msgspec.json.encode({"status": "unloaded", "lora_name": asked.lora_name}))

    async def _chat(self, exchange: HttpExchange) -> None:
        call = _read(await exchange.body(_MOST_BODY))
        async with exchange.while_there():
            answering = _Answering(call, *await self._host(call.model))
            if call.stream:
                async for data in answering.streamed(self._scheduler):
                    await exchange.send_events(data)
                await exchange.end_events()
            else:
                await exchange.answer(await answering.whole(self._scheduler))

    async def _host(self, name: str) -> tuple[Host, str | None]:
        if not self._hosts.loaded(name):
            # In the thread that computes: a base model is loaded when it is first asked for.
            return await self._scheduler.call(lambda: self._hosts.of(name))
        return self._hosts.of(name)


class _Answering:
    """One request on its way through the engine."""

    def __init__(self, call: ChatCall, host: Host, adapter: str | None) -> None:
        self._call, self._decoder = call, host.decoder
        prompt = _prompt(call, host)
        most = _room(call, len(prompt), host.model.context)
        stops = call.options.get("stop", ())
        stops = (stops,) if isinstance(stops, str) else tuple(stops)
        self._rows = [_row(call, prompt, adapter, most, place) for place in range(call.answers)]
        self._answers = [WrittenAnswer(host.model.tokenizer, stops) for _ in self._rows]
        self._writer, self._prompt_tokens = ChatWriter(call), len(prompt)

    async def whole(self, scheduler: Scheduler) -> bytes:
        """The body of a whole reply."""
        texts = [""] * len(self._rows)
        async for place, text in self._texts(scheduler):
            texts[place] += text
        said = [Said(text, finish=answer.finish or "stop") for text, answer in zip(texts, self._answers, strict=True)]
        return self._writer.whole(said, self._counts)

    async def streamed(self, scheduler: Scheduler) -> AsyncIterator[bytes]:
        """The events of a stream."""
        yield self._writer.opening(0)
        async for place, text in self._texts(scheduler):
            finish = self._answers[place].finish
            if text or finish:
                yield self._writer.piece(SaidPiece(place, text, finish=finish))
        yield self._writer.closing(self._counts)

    @property
    def _counts(self) -> Counts:
        return Counts(self._prompt_tokens, sum(answer.tokens for answer in self._answers))

    async def _texts(self, scheduler: Scheduler) -> AsyncIterator[tuple[int, str]]:
        """Pieces of the answers with their places, until each has ended."""
        async with scheduler.tokens(self._decoder, self._rows) as batches:
            async for tokens in batches:
                for place, token, ended in tokens:
                    answer = self._answers[place]
                    if answer.finish is None:
                        yield place, answer.add(token, ended)
                        # What a stop sequence has ended is not written on.
                        self._rows[place].finish = answer.finish
                if all(answer.finish for answer in self._answers):
                    return


def _read(data: bytes) -> ChatCall:
    """The request. The salt that keeps vLLM's prefix caches apart is left out: here every adapter has a cache of its own."""
    body = _decoded(data, dict[str, Any])
    if body.pop("cache_salt", None) is not None:
        data = msgspec.json.encode(body)
    return read_call(data, lambda _: _ALLOWED)


def _prompt(call: ChatCall, host: Host) -> list[int]:
    """The token ids of a request. Raises CallError for what this engine cannot show to a model."""
    if call.pictures:
        raise CallError("This engine reads text only.", openai_code="invalid_value", param="messages")
    for name, harmless in _HARMLESS.items():
        if msgspec.to_builtins(call.options.get(name)) not in harmless:
            raise CallError(f"This engine takes no {name}.", openai_code="unsupported_parameter", param=name)
    try:
        return list(render_prompt(call.conversation, host.model.template))
    except TemplateError:
        # Without its cause, whose words may quote the conversation.
        raise CallError(
            "The model's template does not take these messages.", openai_code="invalid_value", param="messages"
        ) from None


def _room(call: ChatCall, prompt: int, context: int | None) -> int:
    """Tokens of the longest answer. Raises CallError where the context is too short, in the words of vLLM."""
    asked = call.options.get("max_tokens")
    if context is None:
        return int(asked or 1024)
    if prompt + (asked or 1) > context:
        raise CallError(
            f"This model's maximum context length is {context} tokens. However, {prompt} tokens were given and "
            f"{asked or 1} asked for.",
            openai_code="context_length_exceeded",
            param="messages",
        )
    return int(asked or context - prompt)


def _row(call: ChatCall, prompt: list[int], adapter: str | None, most: int, place: int) -> Any:
    from watchword.models.batching import DecodedRow
    from watchword.models.sampling import Sampling

    given, seed = call.options, call.options.get("seed")
    sampling = Sampling(
        temperature=given.get("temperature", 1.0),
        top_p=given.get("top_p", 1.0),
        # Answers to one request differ, and come again with its seed.
        seed=None if seed is None else (seed + place) % 2**63,
        presence_penalty=given.get("presence_penalty", 0.0),
        frequency_penalty=given.get("frequency_penalty", 0.0),
        logit_bias={int(token): bias for token, bias in given.get("logit_bias", {}).items()},
    )
    return DecodedRow(prompt, adapter, sampling, most)


def _decoded(data: bytes, kind: Any) -> Any:
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(data, type=kind)
    raise CallError("The request's body is not what this route takes.", openai_code="invalid_json")
