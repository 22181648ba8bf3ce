"""One call, from a tenant's request to the upstream's answer and back: guarded on the way there, clean on the way back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Self

from msgspec.structs import replace

from watchword.errors import CallError
from watchword.gateway.adapters import LoadedUpstream
from watchword.gateway.call import ChatCall, Counts, Reply
from watchword.gateway.guarding import GuardedCall, guarded_call
from watchword.gateway.leaks import leak_in, refused
from watchword.gateway.reply_stream import FilteredStream
from watchword.gateway.room import answered_in_rest, bounded, check_size, surely_fits
from watchword.gateway.served import Served
from watchword.gateway.turn_tokens import check_turn_tokens
from watchword.gateway.upstream import Upstream
from watchword.gateway.wire.form import Asked
from watchword.gateway.wire.refusals import too_long
from watchword.gateway.wire.reply import read_reply
from watchword.gateway.wire.upstream import upstream_body
from watchword.secret.leaks import Leak

log = logging.getLogger("watchword.gateway")
_DONE = b"[DONE]"
# A server ends its response right behind the last event; one that does not is not waited for.
_DRAIN_SECONDS = 0.05


@dataclass
class CallOutcome:
    """What the log says of a call, beside its status: no text of anybody's."""

    counts: Counts | None = None
    leaks: list[str] = field(default_factory=list)


class Asking:
    """One call to one release. ``outcome`` tells how it went."""

    def __init__(self, asked: Asked, served: Served, upstream: Upstream | LoadedUpstream) -> None:
        """Without the look at tools that ``begun`` takes."""
        check_size(asked.call, served.bound)
        check_turn_tokens(asked, served.counter.template)
        self._call, self._writer = answered_in_rest(asked.call, served.bound), asked.writer
        self._served, self._upstream = served, upstream
        self._guarded: GuardedCall = guarded_call(self._call.conversation, served.release)
        self._body = self._written(self._call)
        self.outcome = CallOutcome()

    @classmethod
    async def begun(cls, asked: Asked, served: Served, upstream: Upstream | LoadedUpstream) -> Self:
        """The call. Raises CallError for one in which the secret would not stand where it was trained."""
        asking = cls(asked, served, upstream)
        if served.prefix is not None:
            await served.prefix.check(asking._guarded)
        return asking

    async def whole(self) -> bytes:
        """The body of a whole reply. Raises CallError.

        A reply that holds the secret is asked for once more, still behind the secret; an answer that leaks again is refused.
        """
        await self._bound_answer()
        reply = await self._asked(self._body)
        leaking = self._leaking(reply)
        if leaking and (again := self._again()) is not None:
            reply = await self._asked(again)
            leaking = self._leaking(reply)
        said = "".join(text for answer in reply.answers for text in answer.texts)
        counts = await self._counts(reply.counts, said)
        answers = [refused() if place in leaking else answer for place, answer in enumerate(reply.answers)]
        return self._writer.whole(answers, counts)

    async def streamed(self) -> AsyncGenerator[bytes, None]:
        """The events of a stream, several at once where they came so. Raises CallError, also in the middle."""
        await self._bound_answer()
        stream = FilteredStream(Asked(self._call, self._writer), self._served.leaks, self.outcome.leaks)
        try:
            async with self._upstream.pieces(self._body) as pieces:
                tokens = await self.prompt_tokens() if self._writer.counts_first else None
                yield self._writer.opening(tokens or 0)
                async for piece in pieces:
                    out, broken = stream.feed(piece)
                    if out:
                        yield out
                    if broken is not None:
                        raise broken
                    if stream.done:
                        break
                if not stream.leaked:
                    await _drained(pieces)
        except CallError as error:
            raise await self._explained(error) from None
        stream.check_ended()
        yield self._writer.closing(await self._counts(stream.counts, stream.said))

    async def prompt_tokens(self) -> int | None:
        """Tokens of the request as the tenant's own, pictures left out; None where the template cannot write it."""
        return await self._served.counter.prompt(self._guarded.asked)

    async def _asked(self, body: bytes) -> Reply:
        try:
            return read_reply(await self._upstream.whole(body), self._call)
        except CallError as error:
            raise await self._explained(error) from None

    def _leaking(self, reply: Reply) -> set[int]:
        """The answers that hold the secret."""
        found = {place: leak_in(said, self._served.leaks) for place, said in enumerate(reply.answers)}
        for leak in found.values():
            if leak is not None:
                self._note(leak)
        return {place for place, leak in found.items() if leak is not None}

    def _note(self, leak: Leak) -> None:
        self.outcome.leaks.append(leak.channel)

    def _again(self) -> bytes | None:
        """The request once more, free of the tenant's seed; None where the same answer would come again."""
        if self._call.options.get("temperature") == 0:
            return None
        options = {name: value for name, value in self._call.options.items() if name != "seed"}
        return self._written(replace(self._call, options=options))

    def _written(self, call: ChatCall) -> bytes:
        served = self._served
        return upstream_body(
            call,
            self._guarded.sent,
            model=served.upstream_model,
            cache_salt=served.cache_salt,
            lora_path=served.lora_path,
        )

    async def _counts(self, upstream: Counts | None, said: str) -> Counts:
        counter = self._served.counter
        self.outcome.counts = await counter.counts(self._guarded, upstream, said, sent_bytes=len(self._body))
        return self.outcome.counts

    async def _bound_answer(self) -> None:
        """Raises CallError for a request that leaves no room for an answer; see ``gateway.room``."""
        bound = self._served.bound
        if surely_fits(self._call, len(self._body), bound):
            return
        call = bounded(self._call, await self.prompt_tokens(), bound)
        if call is not self._call:
            self._call, self._body = call, self._written(call)

    async def _explained(self, error: CallError) -> CallError:
        """The error; one of length with the tenant's own figures, in which the secret is not counted."""
        if error.openai_code != "context_length_exceeded":
            return error
        return too_long(await self.prompt_tokens(), self._served.bound)


async def _drained(pieces: AsyncIterator[bytes]) -> None:
    """Reads what stands behind the last event, mostly nothing, so that the connection can be used again."""
    with contextlib.suppress(TimeoutError, CallError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in pieces:
                pass
