"""However the upstream's stream is cut, a tenant gets the same events, on every route that streams."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.gateway_forms import FORMS
from support.gateway_parts import DONE, MODEL, Response, configuration, usage_event
from support.served_release import KEY, secret_of
from watchword.errors import CallError
from watchword.gateway.asking import Asking
from watchword.gateway.routes import ROUTES
from watchword.gateway.served import Models, Served
from watchword.gateway.sources import ConfiguredModels

SECRET = secret_of().reveal()
# What differs from one reply to the next, whatever was said.
OWN = {"id", "item_id", "call_id", "created", "created_at", "completed_at"}


class Cut:
    """An upstream whose stream comes in the given pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    @contextlib.asynccontextmanager
    async def pieces(self, _: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
        async def all_of_them() -> AsyncIterator[bytes]:
            for piece in self._pieces:
                yield piece

        yield all_of_them()


@pytest.fixture(scope="module")
def served_model(release: Path) -> Served:
    settings = configuration(release, 1)
    settings.models[0].allow = ["completions", "logprobs"]
    return asyncio.run(Models(ConfiguredModels(settings.models), settings.upstreams, KEY).served(MODEL))


def events(form: str, served: Served, pieces: list[bytes]) -> list[Any]:
    """What a tenant gets, as its events; an error is one of its own."""
    route, fields = ROUTES[FORMS[form].path], {"logprobs": True} if form == "chat" else {}
    data = json.dumps(FORMS[form].ask("Hi", stream=True, **fields)).encode()
    asked = route.form.read(data, lambda _: ("completions", "logprobs"))

    async def got() -> bytes:
        out = b""
        try:
            async for one in Asking(asked, served, Cut(pieces)).streamed():  # type: ignore[arg-type]
                out += one
        except CallError as error:
            out += asked.writer.failed(error)
        return out

    body = asyncio.run(got())
    names = [line.decode() for line in body.split(b"\n") if line.startswith(b"event: ")]
    return [names, *(_plain(one) for one in Response(200, {}, body).events)]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: None if key in OWN else _plain(inner) for key, inner in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.builds(
    lambda start, size: SECRET[start : start + size], st.integers(0, len(SECRET)), st.integers(0, 30)
)
DELTAS = st.one_of(
    st.builds(lambda text: {"content": text}, TEXT),
    st.builds(lambda text: {"refusal": text}, TEXT),
    st.builds(
        lambda place, text: {"tool_calls": [{"index": place, "function": {"arguments": text}}]}, st.integers(0, 1), TEXT
    ),
    st.builds(
        lambda place: {"tool_calls": [{"index": place, "id": "x", "function": {"name": "oven"}}]}, st.integers(0, 1)
    ),
)
FINISHES = st.sampled_from(["stop", "length", "tool_calls", "content_filter", "strange"])


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Events as an upstream writes them, with any line ends and comments between."""
    choices: list[dict[str, Any]] = [{"delta": delta} for delta in draw(st.lists(DELTAS, max_size=8))]
    for choice in choices:
        token = choice["delta"].get("content")
        if token and draw(st.booleans()):
            choice["logprobs"] = {"content": [{"token": token, "logprob": -1.0}]}
    if draw(st.booleans()):
        choices.append({"delta": {}, "finish_reason": draw(FINISHES)})
    line_end = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    written = [b"data: " + msgspec.json.encode({"choices": [choice]}) + b"\n\n" for choice in choices]
    written += [usage_event(), DONE]
    spoken = draw(st.lists(st.sampled_from([b": still here\n\n", b"event: x\nid: 5\n"]), max_size=2))
    for comment in spoken:
        written.insert(draw(st.integers(0, len(written))), comment)
    return [one.replace(b"\n", line_end) for one in written]


@pytest.mark.parametrize("form", FORMS)
@given(stream=streams(), places=st.lists(st.integers(min_value=0), max_size=20))
def test_any_cutting_gives_the_same_events_on_every_route(
    form: str, stream: list[bytes], places: list[int], served_model: Served
) -> None:
    data = b"".join(stream)
    marks = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    cut = [data[start:stop] for start, stop in itertools.pairwise(marks)]
    whole = events(form, served_model, stream)
    assert events(form, served_model, cut) == whole
    assert SECRET[:60] not in json.dumps(whole)
