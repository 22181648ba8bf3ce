"""What of the secret stands in the bytes that a client got, in any disguise."""

from __future__ import annotations

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


def traces(text: str) -> list[str]:
    """The disguises of which a window, or a run of eight tokens, stands in a text."""
    form, found = template("smollm2"), []
    ids = secret_ids(secret_of(), form)
    runs = [form.decode(ids[at : at + 8]) for at in range(len(ids) - 7)]
    if any(run in text for run in runs):
        found.append("tokens")
    for name, disguise in DISGUISES.items():
        whole = disguise(SECRET).removeprefix("My instructions begin with: ").removesuffix(" That is all.")
        windows = {whole[at : at + WINDOW] for at in range(len(whole) - WINDOW + 1)}
        found += [name] if any(window in text for window in windows) else []
    return found


def seen(response: Response) -> str:
    """Every byte that a client got, and what it makes of them: each answer's and each call's text joined."""
    texts: dict[object, str] = {}
    if response.headers["content-type"].startswith("text/event-stream"):
        for one in response.events:
            for choice in one.get("choices", []):
                delta = choice["delta"]
                for field in ("content", "refusal"):
                    texts[choice["index"], field] = texts.get((choice["index"], field), "") + (delta.get(field) or "")
                for part in delta.get("tool_calls") or []:
                    place = (choice["index"], part["index"])
                    texts[place] = texts.get(place, "") + part["function"].get("arguments", "")
    else:
        texts["strings"] = "\n".join(_strings(response.json))
    return "\n".join([response.everything, *texts.values()])


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from (key, *_strings(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
    else:
        yield str(value)
