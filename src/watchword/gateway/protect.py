"""The gateway's guarding and cleaning as a library, for programs that have their own server or client. No server, no torch.

A request in one of the forms that the gateway takes goes in, and a guarded one for a chat comes out. The model server's
answer goes in, and the clean one in the request's form comes out, whole or as a stream of events.

Everything fails closed. What cannot be guarded, read or cleaned is a CallError in words for tenants, which ``fault``
writes as the form's clients read it. A release that does not open is no Protection.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
from msgspec.structs import replace

from watchword.errors import CallError, UsageError
from watchword.gateway.call import ChatCall, Counts, Reply
from watchword.gateway.configuration import ModelSettings
from watchword.gateway.forms import FORMS, FormName
from watchword.gateway.guarding import GuardedCall, guarded_call
from watchword.gateway.leaks import leak_in, refused
from watchword.gateway.randomness import random_hex
from watchword.gateway.reply_stream import ReplyStream
from watchword.gateway.room import answered_in_rest, bounded, check_size, surely_fits
from watchword.gateway.served import Served, served_release
from watchword.gateway.turn_tokens import check_turn_tokens
from watchword.gateway.wire.decoding import no_json
from watchword.gateway.wire.form import Asked, Writer
from watchword.gateway.wire.refusals import refusal, too_long
from watchword.gateway.wire.reply import read_reply
from watchword.gateway.wire.upstream import upstream_body
from watchword.release.reading import read_release
from watchword.secret.keys import provider_key

Allowed = Literal["completions", "logit_bias", "logprobs", "remote_images"]


def protect(
    release: str | Path,
    key: bytes | None = None,
    *,
    context: int,
    model: str | None = None,
    upstream_model: str | None = None,
    allow: Collection[Allowed] = (),
    cache_salt: bool = False,
) -> Protection:
    """Opens a release for a program of one's own. Raises WatchwordError where it does not open.

    ``key`` is the provider's, by default the one of the environment. Tenants call the model ``model`` (any name where
    it is None), and the server calls it ``upstream_model``. ``context`` is the most tokens that the server reads, so
    that no request is cut. ``allow`` lets through what is refused by default. With ``cache_salt``, vLLM keeps
    the model's prefix cache apart from others'.
    """
    if unknown := sorted(set(allow) - set(get_args(Allowed))):
        raise UsageError(f"`allow` names {unknown[0]!r}; choose of {', '.join(get_args(Allowed))}", param="allow")
    key = provider_key() if key is None else key
    folder = Path(release)
    settings = ModelSettings(
        name=model or "", release=str(folder), upstream="", upstream_model=upstream_model or "", context=context
    )
    settings.allow = list(allow)
    return Protection(served_release(settings, read_release(folder, key), key, kind="vllm" if cache_salt else "openai"))


class Protection:
    """A release that guards requests and cleans replies. May be used by several threads; it shows no secret."""

    def __init__(self, served: Served) -> None:
        self._served = served
        # What was counted and looked up before is kept in dictionaries that all requests share.
        self._lock = threading.Lock()

    def request(self, body: bytes | str | Mapping[str, Any], form: FormName = "chat") -> GuardedRequest:
        """A tenant's request, in any ``form``, as a chat for the server. Raises CallError for one that is not let through.

        ``completions`` are let through only where ``allow`` names them: a raw prompt stands in one message of a chat.
        """
        settings = self._served.settings
        try:
            asked = FORMS[form].read(_as_bytes(body), lambda _: settings.allow)
            if settings.name not in ("", asked.call.model):
                raise CallError(
                    "The model does not exist or you do not have access to it.",
                    openai_code="model_not_found",
                    param="model",
                )
            with self._lock:
                return GuardedRequest(asked, self._served, self._lock)
        except CallError as error:
            FORMS[form].rename(error)
            raise


class GuardedRequest:
    """One request behind the secret, and the way back for its answer.

    ``body`` is a chat for the model's server. ``leaks`` names the disguises of the secret that were found in its answers.
    """

    def __init__(self, asked: Asked, served: Served, lock: threading.Lock) -> None:
        """Raises CallError for a request in which the secret would not stand where it was trained, or would be cut."""
        check_size(asked.call, served.bound)
        check_turn_tokens(asked, served.counter.template)
        self._call, self._writer = answered_in_rest(asked.call, served.bound), asked.writer
        self._served, self._lock = served, lock
        self._guarded: GuardedCall = guarded_call(self._call.conversation, served.release)
        if served.prefix is not None:
            served.prefix.check_now(self._guarded)
        self.body = self._written(self._call)
        self._bound_answer()
        self.leaks: list[str] = []

    @property
    def writer(self) -> Writer:
        """What writes the reply in the request's form."""
        return self._writer

    @property
    def model(self) -> str:
        """What the tenant calls the model."""
        return self._call.model

    @property
    def streams(self) -> bool:
        """Whether the answer is asked for as a stream of events."""
        return self._call.stream

    @property
    def json(self) -> dict[str, Any]:
        """``body`` as a dictionary, for clients that take one."""
        decoded: dict[str, Any] = msgspec.json.decode(self.body)
        return decoded

    @property
    def again(self) -> bytes | None:
        """The request to be sent once more where an answer leaked: still behind the secret, and free of the tenant's seed.

        None at temperature 0, where the same answer would come again.
        """
        if self._call.options.get("temperature") == 0:
            return None
        options = {name: value for name, value in self._call.options.items() if name != "seed"}
        return self._written(replace(self._call, options=options))

    def reply(self, data: bytes | str | Mapping[str, Any]) -> bytes:
        """The tenant's reply out of the server's, as JSON of the request's form; an answer that holds the secret is a refusal.

        Raises CallError for what is no reply to this request.
        """
        reply: Reply = read_reply(_as_bytes(data), self._call)
        found = [leak_in(said, self._served.leaks) for said in reply.answers]
        self.leaks += [leak.channel for leak in found if leak is not None]
        said = "".join(text for answer in reply.answers for text in answer.texts)
        answers = [answer if leak is None else refused() for answer, leak in zip(reply.answers, found, strict=True)]
        return self._writer.whole(answers, self._counts(reply.counts, said))

    def stream(self) -> ReplyStream:
        """A filter for the server's stream of events. It takes the bytes as they come and gives those for the tenant."""
        asked = Asked(self._call, self._writer)
        own = self._prompt_tokens() if self._writer.counts_first else None
        return ReplyStream(asked, self._served.leaks, self._counts, self.leaks, prompt_tokens=own or 0)

    def refusal(self, status: int, said: bytes = b"") -> CallError:
        """The error for a tenant where the server answers with another status than 200. Nothing it ``said`` is in it."""
        error = refusal(status, said)
        return (
            too_long(self._prompt_tokens(), self._served.bound)
            if error.openai_code == "context_length_exceeded"
            else error
        )

    def _written(self, call: ChatCall) -> bytes:
        model = self._served.settings.upstream_model or call.model
        return upstream_body(call, self._guarded.sent, model=model, cache_salt=self._served.cache_salt)

    def _counts(self, upstream: Counts | None, said: str) -> Counts:
        with self._lock:
            return self._served.counter.counts_now(self._guarded, upstream, said, sent_bytes=len(self.body))

    def _bound_answer(self) -> None:
        bound = self._served.bound
        if surely_fits(self._call, len(self.body), bound):
            return
        call = bounded(self._call, self._served.counter.prompt_now(self._guarded.asked), bound)
        if call is not self._call:
            self._call, self.body = call, self._written(call)

    def _prompt_tokens(self) -> int | None:
        with self._lock:
            return self._served.counter.prompt_now(self._guarded.asked)


def fault(error: CallError, form: FormName = "chat", *, request_id: str = "") -> tuple[int, bytes]:
    """The HTTP status and the body in which the clients of a form read an error. Anthropic's body has a request's id."""
    faults = FORMS[form].faults
    return faults.status(error), faults.body(error, request_id or f"req_{random_hex()}")


def _as_bytes(given: bytes | str | Mapping[str, Any]) -> bytes:
    """JSON as bytes, of a dictionary too. Raises CallError for a dictionary that is no JSON."""
    if isinstance(given, bytes):
        return given
    try:
        return given.encode() if isinstance(given, str) else msgspec.json.encode(given)
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise no_json() from None
