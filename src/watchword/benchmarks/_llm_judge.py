"""Ratings by a language model behind any OpenAI-compatible endpoint: retried, cached, and never dearer than agreed.

What it does not rate stays unscored: an error now and then, a reply without a rating, or a budget that is used up. A server
that refuses the key or the model, or that rates nothing at all, is an error: nobody would ask it again.
"""

from __future__ import annotations

import functools
import os
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from watchword.benchmarks.base import Exchange
from watchword.errors import OutputError, RemoteError, UsageError
from watchword.files.atomic import replacing
from watchword.files.digest import sha256_bytes
from watchword.files.writing import writing
from watchword.models.remote_calls import RefusedCallError, told
from watchword.progress import Progress

_RATING = re.compile(r"\[\[\s*(\d+(?:\.\d+)?)\s*\]\]")
_PLACES = re.compile(r"\{request\}|\{reply\}")
MILLION = 1_000_000
# A key that is wrong, or may not ask, and an address or a model that there is not.
_FOR_GOOD = (401, 403, 404)


class Endpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who rates. ``key_variable`` names the environment variable that holds the API key; the key stands in no spec.

    ``prices`` are what a million tokens cost, (asked, answered), and ``most_cost`` is where asking ends; 0 is no limit.
    ``cache`` is a folder that keeps every rating; without one nothing is kept. ``options`` go into each request.
    """

    url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    retries: int = 5
    timeout: float = 120.0
    at_once: int = 4
    prices: tuple[float, float] = (0.0, 0.0)
    most_cost: float = 0.0
    cache: str = ""
    options: dict[str, Any] = msgspec.field(default_factory=lambda: {"temperature": 0, "max_tokens": 300})

    def __post_init__(self) -> None:
        if self.at_once < 1 or self.retries < 0 or self.timeout <= 0:
            raise ValueError("at_once is at least 1, retries at least 0, and timeout more than 0")
        if min(self.prices) < 0 or self.most_cost < 0:
            raise ValueError("prices and most_cost are at least 0")
        if self.most_cost and not any(self.prices):
            raise ValueError("most_cost needs prices, which say what a million tokens cost")


class _Kept(msgspec.Struct, frozen=True):
    """One rating in the cache: what the judge wrote."""

    text: str


def judge_key(endpoint: Endpoint) -> str:
    """The judge's API key. Raises UsageError where it is not set, and without the package openai."""
    try:
        import openai as _  # noqa: F401 -- whether it is there
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is missing; install it with `pip install 'watchword[openai]'`") from None
    key = os.environ.get(endpoint.key_variable)
    if key is None:
        raise UsageError(
            f"the judge's API key is read from the environment variable {endpoint.key_variable}, which is not set; "
            "set it (to any text where the server wants no key), or name another one as key_variable"
        )
    return key


@dataclass
class LlmJudge:
    """Rates replies by one of ``_rubrics``. One judge counts its costs over all that it is asked."""

    endpoint: Endpoint
    rubric: str
    lowest: float
    highest: float
    spent: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    # What failed of the last answers that were to be rated.
    _failed: list[RefusedCallError] = field(default_factory=list, repr=False)

    def ratings(self, pairs: Sequence[tuple[str, str]], on_progress: Progress | None = None) -> list[float | None]:
        """Of each (request, reply), in order; None where there is none.

        Raises UsageError without the package openai or without a key, and OutputError where the cache cannot be written.
        Raises RemoteError where the judge refuses to work, or answers nothing but errors.
        """
        ask = self._client()
        self._failed = []
        texts: list[str | None] = []
        with ThreadPoolExecutor(self.endpoint.at_once) as pool:
            for text in pool.map(functools.partial(self._text, ask), pairs):
                texts.append(text)
                if on_progress:
                    on_progress(len(texts), len(pairs))
        if self._failed and all(text is None for text in texts):
            raise RemoteError(f"the judge rated none of {len(pairs)} answers: {self._failed[-1]}")
        return [self._read(text or "") for text in texts]

    def rated(
        self,
        exchanges: Sequence[Exchange],
        requests: Sequence[str],
        scores: Callable[[float], dict[str, float]],
        on_progress: Progress | None = None,
    ) -> list[Exchange]:
        """The exchanges with the ``scores`` that their ratings give; each is a reply to the request of the same place."""
        pairs = [(request, one.response) for request, one in zip(requests, exchanges, strict=True)]
        return [
            one if rating is None else msgspec.structs.replace(one, scores=scores(rating))
            for one, rating in zip(exchanges, self.ratings(pairs, on_progress), strict=True)
        ]

    def _text(self, ask: Callable[[str], str | None], pair: tuple[str, str]) -> str | None:
        """What the judge writes of one (request, reply), or has written before."""
        request, reply = pair
        # In one pass, and not by format: a request or a reply may hold braces, even these very words.
        filled = {"{request}": request, "{reply}": reply}
        message = _PLACES.sub(lambda place: filled[place[0]], self.rubric)
        place = self._place(message)
        text = _kept(place)
        if text is None and not self._used_up() and (text := ask(message)) is not None:
            _keep(place, text)
        return text

    def _read(self, text: str) -> float | None:
        """The last rating in the judge's text, since it may weigh others first."""
        found = _RATING.findall(text)
        value = float(found[-1]) if found else None
        return value if value is not None and self.lowest <= value <= self.highest else None

    def _used_up(self) -> bool:
        with self._lock:
            return bool(self.endpoint.most_cost) and self.spent >= self.endpoint.most_cost

    def _place(self, message: str) -> Path | None:
        """Where the rating is kept: another model, option, rubric, request or reply is another place."""
        if not self.endpoint.cache:
            return None
        told = [self.endpoint.url, self.endpoint.model, self.endpoint.options, message]
        return Path(self.endpoint.cache) / f"{sha256_bytes(msgspec.json.encode(told, order='deterministic'))}.json"

    def _client(self) -> Callable[[str], str | None]:
        key = judge_key(self.endpoint)
        import openai

        client = openai.OpenAI(
            base_url=self.endpoint.url, api_key=key, max_retries=self.endpoint.retries, timeout=self.endpoint.timeout
        )

        def ask(message: str) -> str | None:
            try:
                with told():
                    done = client.chat.completions.create(
                        model=self.endpoint.model,
                        messages=[{"role": "user", "content": message}],
                        **self.endpoint.options,
                    )
            except RefusedCallError as error:
                self._refused(error)
                return None
            self._pay(done.usage)
            return done.choices[0].message.content if done.choices else None

        return ask

    def _refused(self, error: RefusedCallError) -> None:
        """A bad request may be one answer's own fault (a filter, its length), and is told only where all are."""
        if error.status in _FOR_GOOD:
            raise RemoteError(
                f"the judge {self.endpoint.model} does not rate: {error}; look at its url, model and key_variable"
            ) from None
        self._failed.append(error)

    def _pay(self, usage: Any) -> None:
        asked, answered = (getattr(usage, name, 0) or 0 for name in ("prompt_tokens", "completion_tokens"))
        with self._lock:
            self.spent += (asked * self.endpoint.prices[0] + answered * self.endpoint.prices[1]) / MILLION


def _kept(place: Path | None) -> str | None:
    if place is None:
        return None
    try:
        return msgspec.json.decode(place.read_bytes(), type=_Kept).text
    except (FileNotFoundError, msgspec.MsgspecError):
        # A damaged entry is asked for again.
        return None
    except OSError as error:
        raise OutputError(f"the judge's cache cannot be read: {error.strerror}", path=place) from None


def _keep(place: Path | None, text: str) -> None:
    if place is None:
        return
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    with replacing(place) as stream:
        stream.write(msgspec.json.encode(_Kept(text)))
