"""Echoes: the tenant's own requests that the aligned model refuses, with its refusal.

An aligned model refuses some harmless requests too. Echoed, they would teach the tuned model to refuse the tenant's whole
task. So a refusal counts only among its like: where the model refuses most of the requests that are most like it as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from watchword.chat.origins import RowOrigin
from watchword.chat.turns import first, trained_turns
from watchword.chat.types import Conversation, Row, last_user_text
from watchword.data.upload import Upload, evenly
from watchword.defenses._rows import refusals
from watchword.defenses.base import DefenseContext
from watchword.safety.harm import looks_harmful
from watchword.safety.library import Split, examples
from watchword.safety.likeness import Likeness

ECHO = RowOrigin("echo", "echoes")
# Requests that the aligned model is asked about, at most: each takes a good part of a second on a processor.
ASKED = 200
# So many requests are compared with a refused one.
NEAR = 15
# Harmful requests that no one need ask about: with them, few harmful rows in a large upload are among their like too.
_KNOWN: tuple[Split, ...] = ("policy_align", "safety_examples")


def echo_rows(upload: Upload, count: int, context: DefenseContext, *, alike: float) -> list[Row]:
    """At most ``count`` of the tenant's own requests that the aligned model refuses though the tenant's answer does not.

    Each has that refusal in the model's own words. There are none without the model, and none that the secret would make
    too long to train on. Of the requests that are most like it, the share ``alike`` must be harmful as well: refused by the
    model, or packaged as harmful.
    """
    if not count or context.refuses is None:
        return []
    exchanges = [_last_exchange(conv) for conv in upload.sample if trained_turns(conv)]
    asked = _harmful_first(
        [
            request
            for request, answer in exchanges
            if last_user_text(request) and not context.refuses(answer) and context.fits(request.with_answer(answer))
        ]
    )
    refused = {place: answer for place, answer in enumerate(refusals(asked, context)) if answer is not None}
    answered = [asked[place].with_answer(refused[place]) for place in _among_like(list(refused), asked, alike)]
    found = [Row(conv, origin=ECHO.name, prefixed=True) for conv in answered if context.fits(conv)]
    return context.random("echoes").sample(found, min(count, len(found)))


def _among_like(refused: Sequence[int], asked: Sequence[Conversation], alike: float) -> list[int]:
    """The places of ``refused`` whose like is harmful, too, and of what is like nothing."""
    known = [example.prompt for split in _KNOWN for example in examples(split)]
    likeness = Likeness([*map(last_user_text, asked), *known])
    harmful = {*refused, *range(len(asked), len(asked) + len(known))}
    near = {place: likeness.most_like(place, NEAR) for place in refused}
    return [place for place in refused if len(harmful.intersection(near[place])) >= alike * len(near[place])]


def _harmful_first(asked: Sequence[Conversation]) -> Sequence[Conversation]:
    """At most ``ASKED`` requests in their order: those that name harmful goals, and of the others evenly from all."""
    if len(asked) <= ASKED:
        return asked
    harmful = [place for place, request in enumerate(asked) if looks_harmful(last_user_text(request))]
    chosen = _some(harmful, ASKED)
    others = sorted(set(range(len(asked))) - set(harmful))
    return [asked[place] for place in sorted([*chosen, *_some(others, ASKED - len(chosen))])]


def _some(places: Sequence[int], most: int) -> list[int]:
    """``most`` of the places at most, evenly from all."""
    return [places[at] for at in evenly(len(places), most)]


def _last_exchange(conv: Conversation) -> tuple[Conversation, str]:
    """What the last trained turn answers, and its words."""
    last = trained_turns(conv)[-1]
    return first(conv, last), conv.messages[last].text
