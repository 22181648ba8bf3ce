"""What of the secret stands in the bytes that a client got, in any disguise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from support.gateway_parts import Response
from support.golden_families import template
from support.leaking import DISGUISES
from support.served_release import secret_of
from watchword.secret.generate import secret_ids

SECRET = secret_of().reveal()
# Characters of a disguised secret that nothing else has by chance.
WINDOW = 24


def windows(text: str) -> set[str]:
    return {text[at : at + WINDOW] for at in range(len(text) - WINDOW + 1)}


def _bare(name: str) -> str:
    return DISGUISES[name](SECRET).removeprefix("My instructions begin with: ").removesuffix(" That is all.")


FORM = template("smollm2")
IDS = secret_ids(secret_of(), FORM)
RUNS = [FORM.decode(IDS[at : at + 8]) for at in range(len(IDS) - 7)]
WINDOWS = {name: windows(_bare(name)) for name in DISGUISES}


def traces(text: str) -> list[str]:
    """The disguises of which a window, or a run of eight tokens, stands in a text."""
    found = ["tokens"] if any(run in text for run in RUNS) else []
    there = windows(text)
    return found + [name for name, parts in WINDOWS.items() if not parts.isdisjoint(there)]


def seen(response: Response) -> str:
    """Every byte that a client got, and what it makes of them: each text joined over all events, and its JSON decoded."""
    joined: dict[object, str] = {}
    for place, text in _placed(response):
        joined[place] = joined.get(place, "") + text
    decoded = [text for whole in joined.values() for text in _decoded(whole)]
    return "\n".join([response.everything, *joined.values(), *decoded])


def _placed(response: Response) -> Iterator[tuple[object, str]]:
    """Each text of a reply with its place. Those of one place in several events belong together."""
    if not response.headers["content-type"].startswith("text/event-stream"):
        yield from _strings(response.json, ())
        return
    for one in response.events:
        numbers = tuple((name, value) for name, value in _numbers(one) if name.endswith("index"))
        yield from (((place, numbers), text) for place, text in _strings(one, (one.get("type"),)))


def _strings(value: Any, place: tuple[object, ...]) -> Iterator[tuple[object, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*place, key, "key"), key
            yield from _strings(inner, (*place, key))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _strings(inner, (*place, at))
    else:
        yield place, value if isinstance(value, str) else str(value)


def _numbers(value: Any) -> Iterator[tuple[str, int]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        if isinstance(one, int):
            yield str(key), one
        yield from _numbers(one)


def _decoded(text: str) -> Iterator[str]:
    try:
        found = json.loads(text)
    except ValueError:
        return
    yield from (inner for _, inner in _strings(found, ()))
